import { afterEach, beforeEach, expect, test, vi } from 'vitest'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  vi.resetModules()
})
afterEach(() => vi.useRealTimers())

const request = (body: BodyInit) =>
  new Request('https://notes.example.com/mcp', { method: 'POST', body, duplex: 'half' } as RequestInit)

const itself = <T>(body: T): T => body

test('a body that never comes is given up after a minute, and no other with it; then nobody waits any longer', async () => {
  const { readBody } = await import('../../src/mcp/body.ts')
  const answers: unknown[] = []
  const read = async (body: BodyInit) => answers.push(await readBody(request(body), 1_000, itself))
  const first = read(new ReadableStream())
  await vi.advanceTimersByTimeAsync(30_000)
  let send = () => {}
  const slow = new ReadableStream<Uint8Array>({
    start(controller) {
      send = () => {
        controller.enqueue(new TextEncoder().encode('slow'))
        controller.close()
      }
    },
  })
  const second = read(slow)
  expect(await readBody(request('at once'), 1_000, itself)).toEqual({ ok: true, text: 'at once' })
  await vi.advanceTimersByTimeAsync(30_000)
  expect([answers, vi.getTimerCount()]).toEqual([[], 1])
  await vi.advanceTimersByTimeAsync(1_000)
  await first
  expect([answers, vi.getTimerCount()]).toEqual([[{ ok: false, problem: 'unreadable' }], 1])
  send()
  await second
  expect(answers.at(-1)).toEqual({ ok: true, text: 'slow' })
  await vi.advanceTimersByTimeAsync(1_000)
  expect(vi.getTimerCount()).toBe(0)
})

test('a host that refuses to hand out a body fails its own request alone, and nobody waits', async () => {
  const { readBody } = await import('../../src/mcp/body.ts')
  const used: unknown[] = []
  const broken = {
    ...{ method: 'POST', url: 'https://notes.example.com/mcp', headers: new Headers(), text: async () => '' },
    get body(): never {
      throw new TypeError('no body here')
    },
  }
  await expect(readBody(broken, 1_000, (body) => used.push(body))).rejects.toThrow('no body here')
  await vi.advanceTimersByTimeAsync(120_000)
  expect([used, vi.getTimerCount()]).toEqual([[], 0])
})
