import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ProofProvider, startProvider } from '../cluster/support/provider.ts'
import { freePort } from '../support/free-port.ts'
import { type Nginx, startNginx } from '../support/nginx.ts'
import { startPostgres } from '../support/postgres.ts'
import { type RunningProcess, startProcess } from '../support/process.ts'
import { startRedis } from '../support/redis.ts'
import { authorize, browserOf, createApplication } from './support/oauth-client.ts'
import { connectV2 } from './support/sdk-clients.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

interface RunningNode {
  readonly port: number
  readonly metrics: number
  readonly process: RunningProcess
}

const stores = { postgres: startPostgres, redis: () => startRedis() } as const

describe.each(Object.keys(stores) as (keyof typeof stores)[])('deploy/: two nodes behind nginx, on %s', (engine) => {
  let provider: ProofProvider
  let nginx: Nginx | undefined
  let missing: string | undefined
  let origin = ''
  const nodes: RunningNode[] = []
  const ends: (() => Promise<unknown>)[] = []

  beforeAll(async () => {
    const store = await stores[engine]()
    if ('skip' in store) {
      missing = store.skip
      return
    }
    ends.push(() => store.stop())
    provider = await startProvider()
    ends.push(() => provider.stop())
    const port = await freePort()
    origin = `http://localhost:${port}`
    const started = await Promise.all(
      [0, 1].map(async () => {
        const [own, metrics] = [await freePort(), await freePort()]
        const process = startProcess(globalThis.process.execPath, ['--import', 'tsx', 'examples/cluster.ts'], {
          cwd: root,
          env: {
            COUNTERSIGN_URL: origin,
            COUNTERSIGN_SECRET: 'a-secret-of-both-nodes-that-is-long-enough',
            DATABASE_URL: engine === 'postgres' ? store.url : undefined,
            REDIS_URL: engine === 'redis' ? store.url : undefined,
            OIDC_ISSUER: provider.issuer,
            OIDC_CLIENT_ID: 'countersign',
            OIDC_CLIENT_SECRET: 'a secret at the provider',
            TRUSTED_PROXIES: '127.0.0.1',
            HOST: '127.0.0.1',
            PORT: String(own),
            METRICS_PORT: String(metrics),
            NOTICE: '4000',
          },
        })
        await process.line(/^listening/, 60_000)
        return { port: own, metrics, process }
      }),
    )
    nodes.push(...started)
    ends.push(
      ...started.map(
        ({ process }) =>
          () =>
            process.stop(),
      ),
    )
    const replaced = {
      'node1:8787': `127.0.0.1:${started[0]?.port}`,
      'node2:8787': `127.0.0.1:${started[1]?.port}`,
      'listen 8080': `listen 127.0.0.1:${port}`,
    }
    const proxy = await startNginx(`${root}deploy/nginx.conf`, port, replaced)
    if ('skip' in proxy) missing = proxy.skip
    else {
      nginx = proxy
      ends.push(() => proxy.stop())
    }
  })
  afterAll(async () => {
    for (const end of ends.reverse()) await end()
  })

  it('lets a client in through it, at both nodes; shows neither probes nor metrics; loses nothing when a node leaves', async ({
    skip,
  }) => {
    if (missing !== undefined || !nginx) return skip(missing)
    const application = createApplication()
    const browser = browserOf(application)
    const client = await connectV2(`${origin}/mcp`, application, () =>
      authorize(application, browser, { username: '', password: '' }),
    )
    const admitted = /countersign_gate_duration_seconds_count\{.*countersign_decision="admitted"\} [1-9]/
    const metricsOf = async ({ metrics }: RunningNode) => (await fetch(`http://127.0.0.1:${metrics}`)).text()
    const bothServe = async () => {
      expect(await client.call('whoami')).toMatchObject({ kind: 'user' })
      return (await Promise.all(nodes.map(metricsOf))).every((text) => admitted.test(text))
    }
    await expect.poll(bothServe).toBe(true)

    for (const path of ['/healthz', '/readyz', '/metrics']) expect((await fetch(`${origin}${path}`)).status).toBe(404)
    for (const node of nodes) {
      expect((await fetch(`http://127.0.0.1:${node.port}/readyz`)).status).toBe(200)
      const text = await metricsOf(node)
      expect(text).toContain(`db_system_name="${engine === 'redis' ? 'redis' : 'postgresql'}"`)
      expect(text).toMatch(/http_server_request_duration_seconds_count\{http_request_method="(GET|POST)"/)
    }

    const [leaving] = nodes
    const readiness = async () => (await fetch(`http://127.0.0.1:${leaving?.port}/readyz`)).status
    const ended = leaving?.process.stop(60_000)
    await expect.poll(readiness).toBe(503)
    let over = false
    void leaving?.process.ended.then(() => {
      over = true
    })
    const refused: unknown[] = []
    for (let after = 0; after < 10; after += over ? 1 : 0) {
      await client.call('whoami').catch((error: unknown) => refused.push(error))
    }
    expect(await ended).toEqual({ code: 0, signal: null })
    // What was on its way to the node at the very moment may be told to come again; it is never told that its token is bad.
    expect(refused.length).toBeLessThanOrEqual(4)
    expect(await client.call('whoami')).toMatchObject({ kind: 'user' })
    await client.close()
  })
})
