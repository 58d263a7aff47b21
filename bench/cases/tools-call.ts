import { signInDevices } from '../harness/countersign-sign-in.ts'
import { dataFolder } from '../harness/data-folder.ts'
import type { LoadClient } from '../harness/load.ts'
import type { Variant } from '../harness/rounds.ts'
import { type ServerProcess, startServer } from '../harness/server-process.ts'

const CLIENTS = 8

/** `tools/call` with and without a gate. `control` sends a token to the server that looks at none: it shows the noise. */
export const toolsCall: readonly Variant[] = [
  {
    name: 'ungated',
    start: async () => ({ server: await startServer('ungated'), clients: callers(undefined) }),
  },
  {
    name: 'control',
    start: async () => ({ server: await startServer('ungated'), clients: callers(`cs.${'x'.repeat(800)}`) }),
  },
  {
    name: 'gated',
    async start() {
      const server = await startServer('gated', { BENCH_DATA: dataFolder() })
      const { tokens } = await signInDevices(server, 1)
      return { server, clients: callers(tokens[0]?.access_token) }
    },
  },
  {
    name: 'requireBearerAuth',
    async start() {
      const server = await startServer('bearer-auth')
      return { server, clients: callers(tokenOf(server)) }
    },
  },
]

function tokenOf(server: ServerProcess): string {
  return (server.ready.facts as { token: string }).token
}

function callers(token: string | undefined): LoadClient[] {
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2025-11-25',
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  }
  return Array.from({ length: CLIENTS }, () => {
    let id = 0
    return {
      next() {
        id += 1
        const call = { jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'notes_list', arguments: {} } }
        return { path: '/mcp', headers, body: JSON.stringify(call) }
      },
      accept(status, body) {
        if (status === 200 && body.includes('"structuredContent":{"notes":[]}') && body.includes(`"id":${id}`)) return
        throw new Error(`tools/call answered ${status}: ${body.slice(0, 500)}`)
      },
    }
  })
}
