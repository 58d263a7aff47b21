/** The MCP server behind Countersign's gate, with its authorization server in the same process, as the example has it. */
import { createServer } from 'node:http'
import { join } from 'node:path'
import { countersign } from 'countersign'
import { sqlite } from 'countersign/store/sqlite'
import { localAccounts } from 'countersign/upstream/local'
import { listen, report } from '../harness/measured.ts'
import { resources, serveNotes } from './gated-notes.ts'

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
  // The peers write no audit log, and where one goes is the operator's choice.
  audit: () => {},
  // The harness says by a header where its browser is: codes are limited by address.
  trustedProxies: ['127.0.0.1'],
  // What was superseded within the last seconds is kept; a device refreshes once an hour, and not a hundred times at once.
  lifetimes: { refreshGrace: 1 },
  resources,
})
await serveNotes(server, auth)
report(port, undefined, async (question) => {
  await people.accounts.create(question as { username: string; password: string; name: string; email: string })
  return true
})
