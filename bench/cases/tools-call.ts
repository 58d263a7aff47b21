import { authorizer, redeem } from '../harness/countersign-sign-in.ts'
import { dataFolder } from '../harness/data-folder.ts'
import { dpopKey } from '../harness/dpop-key.ts'
import { type LoadClient, load } from '../harness/load.ts'
import { ownTokens } from '../harness/own-tokens.ts'
import type { Variant } from '../harness/rounds.ts'
import { type ServerProcess, startServer } from '../harness/server-process.ts'

const CLIENTS = 8
const LIVE_TOKENS = 10_000

/** `tools/call` with and without a gate, which is given ten thousand live tokens in turn. `control` sends a token to the server that looks at none: it shows the noise. */
const variants: readonly Variant[] = [
  {
    name: 'ungated',
    start: async () => ({ server: await startServer('ungated'), clients: callers(() => ({})) }),
  },
  {
    name: 'control',
    start: async () => ({ server: await startServer('ungated'), clients: callers(bearer(`cs.${'x'.repeat(800)}`)) }),
  },
  {
    name: 'gated',
    async start() {
      const server = await startServer('gated', { BENCH_DATA: dataFolder() })
      const tokens = await (await ownTokens(server))(LIVE_TOKENS)
      const headers = tokens.map((token) => ({ authorization: `Bearer ${token}` }))
      let next = 0
      return { server, clients: callers(() => headers[next++ % headers.length] ?? {}) }
    },
  },
  {
    name: 'gated, DPoP',
    async start() {
      const server = await startServer('gated', { BENCH_DATA: dataFolder() })
      const key = dpopKey()
      const { clientId, redirectUri, next } = await authorizer(server)
      const { port } = server.ready
      const proof = key.proof(`http://localhost:${port}/token`)
      const { access_token: token } = await redeem(port, clientId, redirectUri, await next(), { dpop: proof })
      const headers = () => ({ authorization: `DPoP ${token}`, dpop: key.proof(`http://localhost:${port}/mcp`, token) })
      return { server, clients: callers(headers) }
    },
  },
  {
    name: 'requireBearerAuth',
    async start() {
      const server = await startServer('bearer-auth')
      return { server, clients: callers(bearer(tokenOf(server))) }
    },
  },
]

/** Each token was presented once before: from then on it is live. The others get as many calls, so that all are equally warm. */
export const toolsCall: readonly Variant[] = variants.map((variant) => ({
  ...variant,
  async start() {
    const started = await variant.start()
    await load(started.server.ready.port, started.clients, LIVE_TOKENS)
    return started
  },
}))

function tokenOf(server: ServerProcess): string {
  return (server.ready.facts as { token: string }).token
}

function bearer(token: string) {
  const headers = { authorization: `Bearer ${token}` }
  return () => headers
}

function callers(credentials: () => Readonly<Record<string, string>>): LoadClient[] {
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2025-11-25',
  }
  return Array.from({ length: CLIENTS }, () => {
    let id = 0
    return {
      next() {
        id += 1
        const call = { jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'notes_list', arguments: {} } }
        return { path: '/mcp', headers: { ...headers, ...credentials() }, body: JSON.stringify(call) }
      },
      accept(status, body) {
        if (status === 200 && body.includes('"structuredContent":{"notes":[]}') && body.includes(`"id":${id}`)) return
        throw new Error(`tools/call answered ${status}: ${body.slice(0, 500)}`)
      },
    }
  })
}
