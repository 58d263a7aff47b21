import { createServer } from 'node:http'
import { join } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import { countersign, requireUser } from 'countersign'
import { routes } from 'countersign/hono'
import { sqlite } from 'countersign/store/sqlite'
import { localAccounts, type NewLocalAccount } from 'countersign/upstream/local'
import { Hono } from 'hono'
import { listen } from '../harness/measured.ts'
import { asHeader, gateCall, handle } from './gate-call.ts'
import type { Operation } from './operation.ts'

/**
 * Calls with Countersign's own tokens: the gate beside the authorization server, on SQLite. The tokens come from outside, where the case got
 * them by signing people in; that is not measured.
 */
export const ownIssuer: Readonly<Record<string, () => Promise<Operation>>> = {
  'own tokens, seen': ownGate,
  'own tokens, never seen': ownGate,
}

async function ownGate(): Promise<Operation> {
  const data = process.env.BENCH_DATA
  if (data === undefined) throw new Error('BENCH_DATA names no folder')
  const server = createServer()
  const port = await listen(server)
  const people = localAccounts()
  const auth = countersign({
    url: `http://localhost:${port}`,
    upstream: people,
    store: sqlite(join(data, 'countersign.db')),
    tokenClaims: ['name', 'email'],
    audit: () => {},
    trustedProxies: ['127.0.0.1'],
    lifetimes: { refreshGrace: 1 },
    resources: { '/mcp': { scopes: { 'notes:read': 'Read your notes' }, hosts: ['localhost:8787'] } },
  })
  await auth.ready()
  const app = new Hono()
  app.use(routes(auth))
  server.on('request', getRequestListener(app.fetch))

  const gated = auth.gate('/mcp', (request, context) => {
    requireUser(auth)
    return handle(request, context)
  })
  let tokens: readonly Buffer[] = []
  let next = 0
  const token = () => {
    const each = tokens[next++ % tokens.length]
    if (each === undefined) throw new Error('there are no tokens')
    return each
  }
  return {
    port,
    call: gateCall(gated, token),
    async hear(said) {
      const { tokens: given } = said as { readonly tokens?: readonly string[] }
      if (given === undefined) await people.accounts.create(said as NewLocalAccount)
      else tokens = given.map(asHeader)
      next = 0
    },
  }
}
