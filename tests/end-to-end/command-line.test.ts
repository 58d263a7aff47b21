import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startProcess } from '../support/process.ts'
import { type Application, authorize, browserOf, createApplication } from './support/oauth-client.ts'
import { connectV2, type McpClient } from './support/sdk-clients.ts'
import { startServer, type TestServer } from './support/server.ts'

const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

// The example as `npm start` runs it, and the command line as npm installs it, on the same file.
describe('the command line beside the server that runs', () => {
  let server: TestServer
  beforeAll(async () => {
    server = await startServer()
  })
  afterAll(() => server?.dispose())

  const countersign = async (group: string, verb: string, ...args: string[]) => {
    // The secret is that which the server made for itself, and keeps beside its database.
    const env = { COUNTERSIGN_STORE: join(server.data, 'data', 'countersign.db') }
    const running = startProcess(process.execPath, [program, group, verb, '--json', ...args], { env })
    const { code } = await running.ended
    const lines = running.stdout.trim().split('\n').filter(Boolean)
    return { code, answers: lines.map((line) => JSON.parse(line) as Record<string, unknown>), error: running.stderr }
  }
  const connected = async (): Promise<{ application: Application; client: McpClient }> => {
    const application = createApplication()
    const client = await connectV2(server.url, application, () =>
      authorize(application, browserOf(application), server.demo),
    )
    return { application, client }
  }

  it('keys are taken away while a client is at work: it goes on by itself, and so does a verifier elsewhere', async () => {
    const { application, client } = await connected()
    const before = await client.call('whoami')
    const { origin } = new URL(server.url)
    const keys = createRemoteJWKSet(new URL('/jwks', origin), { cooldownDuration: 0 })
    const token = () => application.kept.tokens?.access_token ?? ''
    const first = token()
    await jwtVerify(first, keys)

    expect((await countersign('keys', 'rotate')).answers).toMatchObject([{ use: 'sign', state: 'next' }])
    expect(await client.call('whoami')).toMatchObject({ subject: before.subject })
    expect(token()).toBe(first)

    expect(await countersign('keys', 'rotate', '--compromised')).toMatchObject({ code: 0 })
    // The server hears of it as of a revocation: within a second.
    const called = async () => {
      expect(await client.call('whoami')).toMatchObject({ subject: before.subject })
      return token()
    }
    await expect.poll(called, { interval: 50 }).not.toBe(first)
    await jwtVerify(token(), keys)
    const published = (await (await fetch(new URL('/jwks', origin))).json()) as { keys: unknown[] }
    expect(published.keys).toHaveLength(1)
    await client.close()
  })

  it('a person is forgotten: the client is signed out at once', async () => {
    const { client } = await connected()
    const { subject } = await client.call('whoami')
    const { answers } = await countersign('accounts', 'list')
    expect(answers.map(({ id }) => id)).toContain(subject)
    expect(await countersign('accounts', 'delete', '--', String(subject))).toMatchObject({ code: 0 })
    const outcome = () =>
      client.call('whoami').then(
        () => 'called',
        () => 'refused',
      )
    await expect.poll(outcome, { interval: 50 }).toBe('refused')
    expect(await countersign('accounts', 'show', '--', String(subject))).toMatchObject({ code: 1 })
    await client.close()
  })
})
