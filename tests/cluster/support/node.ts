/** One node of the cluster: a server whose store, clock and peers are what its environment says. It tells its memory and its like to the proof. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getHeapCodeStatistics } from 'node:v8'
import { countersign } from '../../../src/countersign.ts'
import { systemClock } from '../../../src/events/clock.ts'
import { listener } from '../../../src/http/node.ts'
import { UpstreamTokenUnavailable } from '../../../src/identity/access-token.ts'
import { requireAccessToken } from '../../../src/identity/context.ts'
import { postgres } from '../../../src/store/postgres.ts'
import { redis } from '../../../src/store/redis.ts'
import type { Store } from '../../../src/store/store.ts'
import { openid } from '../../../src/upstream/openid.ts'
import { createFreshRings, untilAvailable, useOf } from './fresh.ts'

const { ISSUER = '', PORT = '0', ENGINE = '', STORE = '', SPACE = 'proof', SECRET = '', PROVIDER = '' } = process.env
const { CLIENT_KEYS = '[]', TOKEN_LIFETIME = '600' } = process.env
const skew = Number(process.env.CLOCK_SKEW ?? 0)

const silent = { debug() {}, info() {}, warn() {}, error() {} }
const open = (space: string): Store =>
  ENGINE === 'redis'
    ? redis(STORE, { prefix: space, logger: silent })
    : postgres(STORE, { schema: space, logger: silent })

/** True: this node hears nothing of the others. */
let deaf = false
const inner = open(SPACE)
const store: Store = { ...inner, watch: (hear) => inner.watch((message) => void (deaf || hear(message))) }

// Connections of clients end by their clients, who keep them for less.
const server = createServer({ keepAliveTimeout: 60_000 })
await new Promise<void>((resolve) => server.listen(Number(PORT), '127.0.0.1', resolve))
const { port } = server.address() as AddressInfo
const clock = { now: () => systemClock.now() + skew }

const options = {
  url: ISSUER,
  secret: SECRET,
  clock,
  audit: () => {},
  lifetimes: { accessToken: Number(TOKEN_LIFETIME) },
  // All of the proof is one client and a few people, and asks for more than they should.
  limits: { tokensPerClient: Number.MAX_SAFE_INTEGER, codesPerAccount: Number.MAX_SAFE_INTEGER },
  tokenClaims: ['email'],
  trustedProxies: ['127.0.0.1'],
  resources: { '/mcp': { scopes: { use: 'Use it' }, hosts: [`127.0.0.1:${port}`] } },
  clients: [
    { id: 'app', name: 'App', redirectUris: ['https://app.example.com/callback'] },
    { id: 'robot', name: 'Robot', jwks: { keys: JSON.parse(CLIENT_KEYS) }, scopes: { '/mcp': ['use'] } },
  ],
  upstream: openid({
    id: 'provider',
    issuer: PROVIDER,
    clientId: 'countersign',
    clientSecret: 'a secret at the provider',
    scopes: ['openid', 'email', 'offline_access'],
  }),
}
const auth = countersign({ ...options, store })

const whoami = () => {
  const { kind, issuer, subject, clientId, ...rest } = requireAccessToken(auth)
  const upstream = 'upstream' in rest ? rest.upstream : undefined
  return { kind, issuer, subject, clientId, person: upstream?.subject, email: upstream?.claims.email }
}

/** So many servers in each process take part in a race of first starts. */
const STARTS = 4
const rings = createFreshRings(inner, SECRET, clock)

/** Whole servers that start for the first time, on a store that has nothing yet, not even its tables. */
const firstStart = async (space: string) => {
  const servers = Array.from({ length: STARTS }, () => countersign({ ...options, store: open(space) }))
  try {
    await Promise.all(servers.map((server) => untilAvailable(() => server.ready())))
    return await Promise.all(
      servers.map(async ({ keys }) =>
        (await untilAvailable(() => keys.list())).map(({ id, use }) => `${use} ${id}`).sort(),
      ),
    )
  } finally {
    await Promise.all(servers.map((server) => server.close()))
  }
}

const questions: Record<string, (argument: string) => unknown> = {
  'first-start': firstStart,
  'first-rings': (space) => rings.start(space, STARTS),
  'rotate-rings': (argument) => {
    const [space = '', use = ''] = argument.split(' ')
    return rings.rotate(space, useOf(use))
  },
  'close-rings': (space) => {
    rings.close(space)
    return true
  },
  rotate: async (use) => (await untilAvailable(() => auth.keys.rotate({ use: useOf(use) }))).id,
  deaf: (on) => {
    deaf = on === 'true'
    return deaf
  },
  memory: () => {
    ;(globalThis as { gc?: () => void }).gc?.()
    // Without compiled code and what belongs to it: of that the engine makes more for hours, the slower the machine the longer.
    const code = getHeapCodeStatistics()
    const compiled = code.code_and_metadata_size + code.bytecode_and_metadata_size
    return { heap: process.memoryUsage().heapUsed - compiled, compiled, resources: process.getActiveResourcesInfo() }
  },
}

const serve = listener(
  auth,
  {
    '/mcp': {
      fetch: async (request: Request) => {
        if (new URL(request.url).searchParams.get('upstream') === null) return Response.json(whoami())
        const token = requireAccessToken(auth)
        try {
          const upstream = 'upstream' in token ? await token.upstream?.accessToken() : undefined
          return Response.json({ ...whoami(), upstream })
        } catch (error) {
          if (!(error instanceof UpstreamTokenUnavailable)) throw error
          // As a handler should: what is down comes back.
          return Response.json({ reason: error.reason }, { status: error.reason === 'down' ? 503 : 500 })
        }
      },
    },
  },
  async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://node')
    const question = questions[pathname.replace('/proof/', '')]
    if (!question) return response.writeHead(404).end()
    try {
      response.end(JSON.stringify(await question(searchParams.get('of') ?? '')))
    } catch (error) {
      response.writeHead(500).end(String(error))
    }
    return undefined
  },
)
server.on('request', serve)
auth.ready().then(
  () => console.log(`ready ${port}`),
  (error: unknown) => {
    console.error(error)
    process.exit(1)
  },
)
process.once('SIGTERM', async () => {
  server.close()
  await auth.close({ within: 3_000 })
  server.closeAllConnections()
  process.exit(0)
})
