import { randomBytes } from 'node:crypto'
import { authorizer, redeem } from '../harness/countersign-sign-in.ts'
import { dataFolder } from '../harness/data-folder.ts'
import { dpopKey } from '../harness/dpop-key.ts'
import { type LoadClient, load } from '../harness/load.ts'
import { ownTokens } from '../harness/own-tokens.ts'
import type { Started, Variant } from '../harness/rounds.ts'
import { type ServerProcess, startServer } from '../harness/server-process.ts'

const CLIENTS = 8
const LIVE_TOKENS = 10_000

/** How a client calls: by the protocol's revision. */
type Era = '2025-11-25' | '2026-07-28'

/**
 * `tools/call` with and without a gate, which is given ten thousand live tokens in turn. `control` sends a token to the server that looks at none:
 * it shows the noise.
 */
const variantsIn = (era: Era): readonly { readonly name: string; start(): Promise<Calls> }[] => [
  {
    name: 'ungated',
    start: async () => ({ server: await startServer('ungated'), clients: callers(era, () => ({})) }),
  },
  {
    name: 'control',
    start: async () => ({
      server: await startServer('ungated'),
      clients: callers(era, bearer(`cs.${'x'.repeat(800)}`)),
    }),
  },
  {
    name: 'gated',
    async start() {
      const server = await startServer('gated', { BENCH_DATA: dataFolder() })
      const { next, goBack } = inTurn(await (await ownTokens(server))(LIVE_TOKENS))
      return { server, clients: callers(era, next), goBack }
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
      return { server, clients: callers(era, headers) }
    },
  },
  {
    name: 'requireBearerAuth',
    async start() {
      const server = await startServer('bearer-auth')
      return { server, clients: callers(era, bearer(tokenOf(server))) }
    },
  },
  {
    name: 'requireBearerAuth, introspection',
    async start() {
      const server = await startServer('bearer-auth', { BENCH_INTROSPECTION: 'cached' })
      const tokens = Array.from({ length: LIVE_TOKENS }, () => randomBytes(32).toString('base64url'))
      const { next, goBack } = inTurn(tokens)
      return { server, clients: callers(era, next), goBack }
    },
  },
]

/** A server under calls, and how to begin again with the tokens of so many of the last. */
type Calls = Started & { readonly goBack?: (calls: number) => void }

/**
 * Each token was presented once before: from then on it is live. Those of a round are presented once more before it is measured: what was looked up
 * more than a minute ago is looked up again, and who waits for the others' turns must not pay for that. The others get as many calls, so that all are
 * equally warm.
 */
export const toolsCall = (era: Era): readonly Variant[] =>
  variantsIn(era).map(({ name, start }) => ({
    name,
    async start() {
      const { goBack, ...started } = await start()
      const call = (calls: number) => load(started.server.ready.port, started.clients, calls)
      await call(LIVE_TOKENS)
      return {
        ...started,
        async prepare(requests) {
          await call(requests)
          goBack?.(requests)
        },
      }
    },
  }))

function tokenOf(server: ServerProcess): string {
  return (server.ready.facts as { token: string }).token
}

function bearer(token: string) {
  const headers = { authorization: `Bearer ${token}` }
  return () => headers
}

function inTurn(tokens: readonly string[]) {
  const each = tokens.map(bearer)
  let calls = 0
  return {
    next: () => each[calls++ % each.length]?.() ?? {},
    goBack(by: number) {
      calls -= by
    },
  }
}

/** What every request says of its client, where there is no session that was told once. */
const meta = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'bench', version: '1.0.0' },
  'io.modelcontextprotocol/clientCapabilities': {},
}

function callers(era: Era, credentials: () => Readonly<Record<string, string>>): LoadClient[] {
  const stateless = era === '2026-07-28'
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': era,
    ...(stateless && { 'mcp-method': 'tools/call', 'mcp-name': 'notes_list' }),
  }
  const params = { name: 'notes_list', arguments: {}, ...(stateless && { _meta: meta }) }
  return Array.from({ length: CLIENTS }, () => {
    let id = 0
    return {
      next() {
        id += 1
        const call = { jsonrpc: '2.0', id, method: 'tools/call', params }
        return { path: '/mcp', headers: { ...headers, ...credentials() }, body: JSON.stringify(call) }
      },
      accept(status, body) {
        if (status === 200 && body.includes('"structuredContent":{"notes":[]}') && body.includes(`"id":${id}`)) return
        throw new Error(`tools/call answered ${status}: ${body.slice(0, 500)}`)
      },
    }
  })
}
