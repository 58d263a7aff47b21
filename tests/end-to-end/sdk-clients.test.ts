import { setTimeout as sleep } from 'node:timers/promises'
import { auth as authorizeV1 } from '@modelcontextprotocol/sdk/client/auth.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Application, authorize, browserOf, createApplication } from './support/oauth-client.ts'
import { type Approve, connectV1, connectV2, isUnauthorized, type McpClient } from './support/sdk-clients.ts'
import { startServer, type TestServer } from './support/server.ts'

const READ = ['notes:read']
const BOTH = ['notes:read', 'notes:write']
const LIFETIME = 6

const clients = [
  { name: 'the SDK v1 client', connect: connectV1 },
  {
    name: 'the SDK v2 client, 2025-11-25',
    connect: (url: string, application: Application, approve: Approve) =>
      connectV2(url, application, approve, { negotiation: 'legacy' }),
  },
  {
    name: 'the SDK v2 client, the newest revision that the server has',
    connect: (url: string, application: Application, approve: Approve) =>
      connectV2(url, application, approve, { negotiation: 'auto' }),
  },
]

describe.concurrent.each([
  { server: 'SDK v2 on Hono', script: 'sdk-v2.ts' },
  { server: 'SDK v1 on Express', script: 'sdk-v1.ts' },
])('a server on $server', ({ script }) => {
  let server: TestServer
  beforeAll(async () => {
    server = await startServer({ script, env: { ACCESS_TOKEN: String(LIFETIME) } })
  })
  afterAll(() => server?.dispose())

  async function expectDemo(client: McpClient, application: Application, scopes: readonly string[]): Promise<string> {
    const answer = await client.call('whoami')
    expect(answer).toMatchObject({
      kind: 'user',
      issuer: server.origin,
      clientId: application.kept.client?.client_id,
      scopes,
      resource: server.url,
      upstream: { claims: { preferred_username: 'demo', email: 'demo@example.com' } },
    })
    expect(answer.subject).toMatch(/^(?!demo).{8,}$/)
    return String(answer.subject)
  }

  describe.each(clients)('$name', ({ connect }) => {
    it('comes from the first 401 to whoami, and calls again after the access token expired', async () => {
      const application = createApplication()
      const browser = browserOf(application)
      const client = await connect(server.url, application, () => authorize(application, browser, server.demo))
      const subject = await expectDemo(client, application, READ)
      const before = application.kept.tokens
      expect(before?.expires_in).toBe(LIFETIME)

      await sleep((LIFETIME + 1) * 1000)
      expect(await expectDemo(client, application, READ), 'origin 5: the subject survives a refresh').toBe(subject)
      expect(application.kept.tokens?.access_token).not.toBe(before?.access_token)
      expect(application.kept.tokens?.refresh_token).not.toBe(before?.refresh_token)
      expect(application.kept.authorizationUrl).toBeUndefined()
      await client.close()
    })
  })

  describe.each(clients)('$name, stepping up', ({ name, connect }) => {
    // The v1 client tries a refresh first, which can't widen anything (RFC 6749 §6); so it steps up by itself only where it has none.
    const isV1 = name.includes('v1')

    it('fault 13: steps up at a 403, and only its own session is widened', async () => {
      const other = createApplication()
      const beside = await connect(server.url, other, () => authorize(other, browserOf(other), server.demo))

      const application = createApplication(isV1 ? { metadata: { grant_types: ['authorization_code'] } } : {})
      const browser = browserOf(application)
      const ask = () => authorize(application, browser, server.demo)
      const client = await connect(server.url, application, ask)
      const subject = await expectDemo(client, application, READ)

      const refusal = await client.call('notes_add', { text: 'hello' }).catch((error: unknown) => error)
      expect(isUnauthorized(refusal), String(refusal)).toBe(true)
      await client.finish(await ask())
      await client.call('notes_add', { text: 'hello' })
      expect(await expectDemo(client, application, BOTH)).toBe(subject)

      await expectDemo(beside, other, READ)
      await client.close()
      await beside.close()
    })
  })

  it('the SDK v1 client with a refresh token gives up at the 403, keeps its session, and steps up when its host asks', async () => {
    const application = createApplication()
    const browser = browserOf(application)
    const ask = () => authorize(application, browser, server.demo)
    const client = await connectV1(server.url, application, ask)
    await expect(client.call('notes_add', { text: 'hello' })).rejects.toThrow(/403/)
    await expectDemo(client, application, READ)

    application.invalidateCredentials('tokens')
    await authorizeV1(application, { serverUrl: server.url, scope: BOTH.join(' ') })
    await client.finish(await ask())
    await client.call('notes_add', { text: 'hello' })
    await expectDemo(client, application, BOTH)
    await client.close()
  })

  it('fault 2: four connections of one application refresh at once, share one token, and it survives', async () => {
    const application = createApplication()
    const browser = browserOf(application)
    const ask = () => authorize(application, browser, server.demo)
    const connections = [await connectV2(server.url, application, ask)]
    for (let more = 0; more < 3; more++) connections.push(await connectV2(server.url, application, ask))
    for (let round = 0; round < 2; round++) {
      await sleep((LIFETIME + 1) * 1000)
      await Promise.all(connections.map((client) => expectDemo(client, application, READ)))
    }
    expect(application.kept.authorizationUrl).toBeUndefined()
    await Promise.all(connections.map((client) => client.close()))
  })

  it('a person who denies is not asked for a password, and the client is told', async () => {
    const application = createApplication()
    const browser = browserOf(application)
    let answer: URLSearchParams | undefined
    const denied = connectV2(server.url, application, async () => {
      answer = await authorize(application, browser, server.demo, { decision: 'deny' })
      return answer
    })
    await expect(denied).rejects.toThrow()
    expect([answer?.get('error'), answer?.get('iss')]).toEqual(['access_denied', server.origin])
  })

  it('a person who unticks a scope has not granted it', async () => {
    const application = createApplication({ metadata: { scope: BOTH.join(' ') } })
    const browser = browserOf(application)
    await authorizeV1(application, { serverUrl: server.url, scope: BOTH.join(' ') })
    const answer = await authorize(application, browser, server.demo, { without: ['notes:write'] })
    await authorizeV1(application, { serverUrl: server.url, authorizationCode: answer.get('code') ?? '' })
    expect(application.kept.tokens?.scope).toBe('notes:read')
    const client = await connectV1(server.url, application, () => Promise.reject(new Error('it has a token')))
    await expectDemo(client, application, READ)
    await client.close()
  })
})
