/**
 * Countersign's authorization server alone, on SQLite, as the example starts it; the MCP server is not even loaded. `BENCH_CLIENTS` adds
 * clients that act for themselves; `BENCH_STORE` names another store, `BENCH_ISSUER` the port of the first node of several.
 */
import { createServer } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { countersign, type Options } from 'countersign'
import { routes } from 'countersign/hono'
import { localAccounts } from 'countersign/upstream/local'
import { Hono } from 'hono'
import { listen, report } from '../harness/measured.ts'
import { AGENT, MACHINE, RESOURCE_SERVER, SECRET } from './clients.ts'
import { benchStore } from './store.ts'

const server = createServer()
const port = await listen(server, Number(process.env.BENCH_PORT ?? 0))

const clients: NonNullable<Options<unknown>['clients']> = [
  { id: MACHINE, secret: SECRET, scopes: { '/mcp': ['notes:read'] } },
  { id: RESOURCE_SERVER, secret: SECRET, introspects: ['/mcp'] },
  { id: AGENT, secret: SECRET, exchange: { serves: ['/mcp'] } },
]

const people = localAccounts()
const auth = countersign({
  url: `http://localhost:${process.env.BENCH_ISSUER ?? port}`,
  upstream: people,
  ...benchStore(),
  tokenClaims: ['name', 'email'],
  // The peers write no audit log, and where one goes is the operator's choice.
  audit: () => {},
  // What is wrong with a server is wrong with its figures.
  logger: { debug() {}, info() {}, warn: console.error, error: console.error },
  // The harness says by a header where its browser is: codes are limited by address.
  trustedProxies: ['127.0.0.1'],
  limits: { codesPerAccount: Number.MAX_SAFE_INTEGER },
  ...(process.env.BENCH_CLIENTS === undefined ? {} : { clients }),
  // A device refreshes several times a second here instead of once an hour: the window shrinks along, so that records are as they are in use.
  lifetimes: { refreshGrace: 1 },
  resources: {
    '/mcp': {
      scopes: { 'notes:read': 'Read your notes', 'notes:write': 'Add and change your notes' },
      defaultScopes: ['notes:read'],
    },
  },
})
await auth.ready()

const app = new Hono()
app.use(routes(auth))
server.on('request', getRequestListener(app.fetch))
report(port, undefined, async (question) => {
  const asked = question as
    | { username: string; password: string; name: string; email: string }
    | { want: 'grants'; subject: string }
  if ('want' in asked) return (await auth.grants.list(asked.subject)).grants.length
  await people.accounts.create(asked)
  return true
})
