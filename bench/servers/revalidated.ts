/**
 * The MCP server behind Countersign's gate, whose people sign in at the provider of `BENCH_PROVIDER`. `BENCH_REVALIDATE` is after how many seconds
 * it is asked again; without it, never.
 */
import { createServer } from 'node:http'
import { join } from 'node:path'
import { countersign } from 'countersign'
import { sqlite } from 'countersign/store/sqlite'
import { openid } from 'countersign/upstream/openid'
import { listen, report } from '../harness/measured.ts'
import { resources, serveNotes } from './gated-notes.ts'

const { BENCH_DATA: data, BENCH_PROVIDER: issuer, BENCH_CLIENT: clientId = '', BENCH_REVALIDATE: every } = process.env
if (data === undefined || issuer === undefined) throw new Error('BENCH_DATA or BENCH_PROVIDER is missing')
// A connection that is closed just as it is used again would be no figure.
const server = createServer({ keepAliveTimeout: 600_000 })
const port = await listen(server)

const auth = countersign({
  url: `http://localhost:${port}`,
  upstream: openid({
    id: 'idp',
    issuer,
    clientId,
    clientSecret: 'a secret of this bench',
    clientAuthentication: 'client_secret_post',
    ...(every === undefined ? {} : { revalidate: Number(every) }),
  }),
  store: sqlite(join(data, 'countersign.db')),
  tokenClaims: ['name'],
  // Where an audit log goes is the operator's choice.
  audit: () => {},
  // What is wrong with a server is wrong with its figures.
  logger: { debug() {}, info() {}, warn: console.error, error: console.error },
  // The harness says by a header where its browsers are: codes are limited by address.
  trustedProxies: ['127.0.0.1'],
  lifetimes: { accessToken: 3_600 },
  resources,
})
await serveNotes(server, auth)
report(port)
