import { afterEach, expect, test, vi } from 'vitest'
import { createTarget } from '../../attacks/support/target.ts'

afterEach(() => {
  vi.unstubAllGlobals()
})

/** What some hosts put in place of the platform's: it keeps the headers that it was given, and writes its length into them when it is sent. */
class KeepingResponse extends Response {
  readonly given: object
  constructor(body?: BodyInit | null, init?: ResponseInit) {
    super(body, init)
    this.given = init?.headers ?? {}
  }
  async send(): Promise<{ readonly length: number; readonly body: string }> {
    const body = await this.text()
    // Only where it does not stand there yet.
    const written = Object.assign(this.given, { 'Content-Length': Buffer.byteLength(body), ...this.given })
    return { length: written['Content-Length'], body }
  }
}

test('on a host whose responses write into the headers that they were given, each answer has a length of its own', async () => {
  vi.stubGlobal('Response', KeepingResponse)
  const { send } = await createTarget()
  const register = async (name: string) => {
    const answer = await send(
      new Request('https://auth.example.com/register', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ client_name: name, redirect_uris: ['http://127.0.0.1/callback'] }),
      }),
    )
    expect(answer.status).toBe(201)
    return (answer as KeepingResponse).send()
  }
  for (const name of ['App', 'An app with a longer name', 'A']) {
    const { length, body } = await register(name)
    expect(body).toContain(`"${name}"`)
    expect(length).toBe(Buffer.byteLength(body))
  }
})
