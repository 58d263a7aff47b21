/** One node of the cluster: a server whose store, clock and peers are what its environment says. It tells its memory and its like to the proof. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { countersign } from '../../../src/countersign.ts'
import { systemClock } from '../../../src/events/clock.ts'
import { systemRandom } from '../../../src/events/random.ts'
import { listener } from '../../../src/http/node.ts'
import { UpstreamTokenUnavailable } from '../../../src/identity/access-token.ts'
import { requireAccessToken } from '../../../src/identity/context.ts'
import { openKeyRing } from '../../../src/keys/key-ring.ts'
import { postgres } from '../../../src/store/postgres.ts'
import { redis } from '../../../src/store/redis.ts'
import type { Store } from '../../../src/store/store.ts'
import { openid } from '../../../src/upstream/openid.ts'

const { ISSUER = '', PORT = '0', ENGINE = '', STORE = '', SPACE = 'proof', SECRET = '', PROVIDER = '' } = process.env
const { CLIENT_KEYS = '[]' } = process.env
const skew = Number(process.env.CLOCK_SKEW ?? 0)

const open = (space: string): Store =>
  ENGINE === 'redis'
    ? redis(STORE, { prefix: space, logger: silent() })
    : postgres(STORE, { schema: space, logger: silent() })
const silent = () => ({ debug() {}, info() {}, warn() {}, error() {} })

/** True: this node hears nothing of the others. */
let deaf = false
const inner = open(SPACE)
const store: Store = { ...inner, watch: (hear) => inner.watch((message) => void (deaf || hear(message))) }

const server = createServer()
await new Promise<void>((resolve) => server.listen(Number(PORT), '127.0.0.1', resolve))
const { port } = server.address() as AddressInfo
const clock = { now: () => systemClock.now() + skew }

const auth = countersign({
  url: ISSUER,
  secret: SECRET,
  store,
  clock,
  audit: () => {},
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
})

const whoami = () => {
  const { kind, issuer, subject, clientId, ...rest } = requireAccessToken(auth)
  const upstream = 'upstream' in rest ? rest.upstream : undefined
  return { kind, issuer, subject, clientId, person: upstream?.subject, email: upstream?.claims.email }
}

/** What nodes of a deployment that starts for the first time do at once: open a key ring in an empty space. */
const firstStart = async (space: string) => {
  const fresh = open(space)
  try {
    const common = { algorithm: 'ES256', clock, random: systemRandom, audit: () => {} } as const
    const ring = await openKeyRing({ store: fresh, secrets: [SECRET], ...common })
    const answer = { sign: ring.signingKey().id, mac: ring.macKey().id }
    ring.close()
    return answer
  } finally {
    await fresh.close()
  }
}

const questions: Record<string, (argument: string) => unknown> = {
  'first-start': firstStart,
  rotate: async () => (await auth.keys.rotate()).id,
  deaf: (on) => {
    deaf = on === 'true'
    return deaf
  },
  memory: () => {
    ;(globalThis as { gc?: () => void }).gc?.()
    return { heap: process.memoryUsage().heapUsed, resources: process.getActiveResourcesInfo() }
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
