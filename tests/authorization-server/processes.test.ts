import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hashSecret } from '../../src/crypto/hash.ts'
import { idJagType, jwtBearerGrantType } from '../../src/oauth/assertion.ts'
import { sqlite } from '../../src/store/sqlite.ts'
import type { Store } from '../../src/store/store.ts'
import {
  type Approved,
  approved,
  callback,
  issuer,
  mcp,
  postToken,
  refresh,
  registered,
  signedIn,
  type TestClient,
  type TestServer,
  type TestServerOptions,
  testServer,
} from '../support/authorization-server.ts'
import { type JwksIssuer, startJwksIssuer } from '../support/jwks-issuer.ts'
import { startPostgres } from '../support/postgres.ts'
import { type RunningProcess, startProcess } from '../support/process.ts'
import { startRedis } from '../support/redis.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import type { Opening } from './contender.ts'

type Outcome = { readonly status: number; readonly error?: string; readonly refresh_token?: string }

const many = 3
const agent = { id: 'agent', secret: 'the secret of an agent, long enough for one' }
const script = fileURLToPath(new URL('./contender.ts', import.meta.url))

/** Several processes at one store: each posts all forms at once, and all processes start together. */
async function contenders(opening: Opening, options: TestServerOptions) {
  const processes: RunningProcess[] = Array.from({ length: many }, () =>
    startProcess(process.execPath, ['--import', 'tsx', script, JSON.stringify(opening), JSON.stringify(options)]),
  )
  await Promise.all(processes.map((running) => running.line(/^ready$/)))
  return {
    async race(forms: readonly Record<string, string>[]): Promise<Outcome[]> {
      const before = processes.map(({ stdout }) => stdout.length)
      for (const running of processes) running.write(`${JSON.stringify(forms)}\n`)
      const outcomes = processes.map(async (running, index) => {
        await expect.poll(() => running.stdout.slice(before[index]), { interval: 5 }).toMatch(/^\[.*\]\n$/)
        return JSON.parse(running.stdout.slice(before[index])) as Outcome[]
      })
      return (await Promise.all(outcomes)).flat()
    },
    end: () => Promise.all(processes.map((running) => running.stop())),
  }
}

async function sqliteStore(): Promise<{ opening: Opening; store: Store; end(): Promise<void> }> {
  const { path, remove } = temporaryDirectory()
  const store = sqlite(`${path}/db`)
  const end = async () => {
    await store.close()
    remove()
  }
  return { opening: { engine: 'sqlite', path: `${path}/db` }, store, end }
}

async function postgresStore(): Promise<{ opening: Opening; store: Store; end(): Promise<void> } | undefined> {
  const server = await startPostgres()
  if (!('url' in server)) return undefined
  const { postgres } = await import('../../src/store/postgres.ts')
  const store = postgres(server.url)
  const end = async () => {
    await store.close()
    await server.stop()
  }
  return { opening: { engine: 'postgres', url: server.url }, store, end }
}

async function redisStore(): Promise<{ opening: Opening; store: Store; end(): Promise<void> } | undefined> {
  const server = await startRedis()
  if (!('url' in server)) return undefined
  const { redis } = await import('../../src/store/redis.ts')
  const store = redis(server.url)
  const end = async () => {
    await store.close()
    await server.stop()
  }
  return { opening: { engine: 'redis', url: server.url }, store, end }
}

describe.each([
  ['sqlite', sqliteStore],
  ['postgres', postgresStore],
  ['redis', redisStore],
])('several processes at one store: %s', (_name, open) => {
  let opened: Awaited<ReturnType<typeof open>>
  let to: TestServer
  let client: TestClient
  let idp: JwksIssuer | undefined
  let processes: Awaited<ReturnType<typeof contenders>>

  beforeAll(async () => {
    opened = await open()
    if (!opened) return
    idp = await startJwksIssuer(mcp)
    const options: TestServerOptions = {
      assertions: [{ kind: 'enterprise', issuer: idp.issuer, provider: 'acme' }],
      clients: [agent],
    }
    to = await testServer({ store: opened.store, ...options })
    client = await registered(to)
    processes = await contenders(opened.opening, options)
  })
  afterAll(async () => {
    await processes?.end()
    await idp?.close()
    await opened?.end()
  })

  const redemption = ({ code, verifier }: Approved) => ({
    grant_type: 'authorization_code',
    code,
    code_verifier: verifier,
    redirect_uri: callback,
    ...client,
  })

  test('fault 1: of concurrent redemptions of one code exactly one succeeds, and its tokens stay good', async (context) => {
    if (!opened) return context.skip('no such server here')
    for (let round = 0; round < 10; round++) {
      const form = redemption(await approved(to, client))
      const outcomes = await processes.race([form, form, form])
      const succeeded = outcomes.filter(({ status }) => status === 200)
      expect([outcomes.length, succeeded.length]).toEqual([3 * many, 1])
      for (const { status, error } of outcomes.filter(({ status }) => status !== 200)) {
        expect([status, error]).toEqual([400, 'invalid_grant'])
      }
      expect((await refresh(to, client, succeeded[0]?.refresh_token ?? '')).status).toBe(200)
    }
  })

  test('fault 24: an assertion of somebody who was never here is good once, and makes one account', async (context) => {
    if (!opened || !idp) return context.skip('no such server here')
    const { store } = opened
    const accounts = async () => (await store.list('account/')).entries.length
    const before = await accounts()
    const told = async (form: Readonly<Record<string, string>>) => {
      const { status, body } = await postToken(to, form)
      return { status, error: body.error }
    }
    for (let round = 0; round < 5; round++) {
      const now = Math.floor(to.clock.now() / 1000)
      const claims = { sub: `person-${round}`, aud: issuer, client_id: agent.id, resource: mcp, exp: now + 300 }
      const assertion = await idp.sign(claims, { typ: idJagType })
      const proof = { client_id: agent.id, client_secret: agent.secret }
      const form = { grant_type: jwtBearerGrantType, assertion, ...proof }
      const outcomes = await processes.race([form, form, form])
      expect([outcomes.length, outcomes.filter(({ status }) => status === 200).length]).toEqual([3 * many, 1])
      for (const loser of outcomes.filter(({ status }) => status !== 200)) {
        // Where the file was locked for longer than anybody waits, that was our own trouble: who tries again is told.
        const { status, error } = loser.status === 503 ? await told(form) : loser
        expect([status, error]).toEqual([400, 'invalid_grant'])
      }
    }
    expect((await accounts()) - before).toBe(5)
    const { entries } = await store.list('client-grant/')
    expect(entries.filter(({ key }) => key.includes(`/${hashSecret(agent.id)}/`))).toHaveLength(5)
  })

  test('fault 2: parallel processes of one client share one refresh token and it survives', async (context) => {
    if (!opened) return context.skip('no such server here')
    let { refresh_token: token } = await signedIn(to, client)
    for (let round = 0; round < 10; round++) {
      const form = { grant_type: 'refresh_token', refresh_token: token, ...client }
      const outcomes = await processes.race([form, form])
      expect(outcomes.map(({ status }) => status)).toEqual(Array(2 * many).fill(200))
      const next = new Set(outcomes.map(({ refresh_token }) => refresh_token))
      expect(next.size).toBe(1)
      ;[token = ''] = next
    }
  })
})
