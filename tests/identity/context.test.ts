import { setTimeout as wait } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import type { AccessToken } from '../../src/identity/access-token.ts'
import {
  getAccessToken,
  NoAccessToken,
  requireAccessToken,
  requireUser,
  type TokenSource,
  withAccessToken,
} from '../../src/identity/context.ts'
import { accessToken, clientToken } from '../../src/testing.ts'

const sourceOf = (...tokens: readonly AccessToken<unknown>[]): TokenSource => ({
  vouches: (token): token is AccessToken => tokens.includes(token),
})

test('design 2, the current token is there anywhere below, and nowhere else', async () => {
  const token = accessToken({ subject: 'alice' })
  expect(getAccessToken()).toBeUndefined()
  await withAccessToken(token, async () => {
    expect(getAccessToken()).toBe(token)
    await wait(1)
    queueMicrotask(() => expect(getAccessToken()).toBe(token))
    expect(requireUser().subject).toBe('alice')
  })
  expect(getAccessToken()).toBeUndefined()
})

test('concurrent callers never see each other', async () => {
  const seen = await Promise.all(
    Array.from({ length: 50 }, (_, index) =>
      withAccessToken(accessToken({ subject: `user-${index}` }), async () => {
        await wait(Math.random() * 5)
        return requireUser().subject === `user-${index}`
      }),
    ),
  )
  expect(seen.every(Boolean)).toBe(true)
})

test('design 2, without a token `require` throws and says what to look at', () => {
  expect(() => requireAccessToken()).toThrow(NoAccessToken)
  expect(() => requireUser()).toThrow(/gate/)
  expect(() => requireUser()).toThrow(expect.objectContaining({ name: 'NoAccessToken' }))
})

test('design 2, a client’s own token is no user', () => {
  withAccessToken(clientToken({ clientId: 'robot' }), () => {
    expect(requireAccessToken()).toMatchObject({ kind: 'client', subject: 'robot', clientId: 'robot' })
    expect(() => requireUser()).toThrow(NoAccessToken)
  })
})

test('a source answers only for what it verified itself', () => {
  const [mine, other] = [accessToken(), accessToken()]
  const source = sourceOf(mine)
  withAccessToken(mine, () => expect(requireUser(source)).toBe(mine))
  withAccessToken(other, () => {
    expect(getAccessToken(source)).toBeUndefined()
    expect(() => requireAccessToken(source)).toThrow(NoAccessToken)
  })
})

test('design 2, two copies of the package share one current token', async () => {
  vi.resetModules()
  const copy = await import('../../src/identity/context.ts')
  expect(copy.getAccessToken).not.toBe(getAccessToken)
  const token = accessToken()
  withAccessToken(token, () => expect(copy.getAccessToken()).toBe(token))
  copy.withAccessToken(token, () => expect(getAccessToken()).toBe(token))
  // By a name that other releases know too.
  expect(Symbol.for('countersign.current-access-token') in globalThis).toBe(true)
})
