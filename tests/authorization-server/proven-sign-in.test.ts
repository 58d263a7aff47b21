import { expect, test } from 'vitest'
import { isFreshSignIn, provingProviders } from '../../src/authorization-server/proven-sign-in.ts'
import type { NamedProvider, OpenProvider } from '../../src/upstream/provider.ts'

const now = 1_800_000_000
const unused = () => Promise.reject(new Error('nobody is asked anything here'))
const redirect = { kind: 'redirect', begin: unused, complete: unused } as const
const kinds = {
  password: { kind: 'password', signIn: unused },
  host: { kind: 'host', identify: unused },
  says: redirect,
  asks: { ...redirect, reauthenticates: 'unstated' },
  never: { ...redirect, reauthenticates: false },
} as const satisfies Readonly<Record<string, OpenProvider>>
type Kind = keyof typeof kinds

const providers = Object.entries(kinds).map(([id, open]): NamedProvider => ({ id, name: id, open }))
const server = { providers, clock: { now: () => now * 1000 } }
const account = (...of: readonly Kind[]) => ({
  identities: of.map((provider) => ({
    provider,
    issuer: `https://${provider}.example`,
    subject: 'alice',
    linkedAt: 0,
  })),
})

test.each([
  { of: ['never'], proving: [] },
  { of: ['host'], proving: [] },
  { of: ['never', 'asks'], proving: ['asks'] },
  { of: ['host', 'asks'], proving: ['asks'] },
  { of: ['asks', 'never', 'says'], proving: ['says'] },
  { of: ['asks', 'password'], proving: ['password'] },
  { of: ['says', 'password'], proving: ['password', 'says'] },
] as const)('of $of people prove themselves at $proving', ({ of, proving }) => {
  expect(provingProviders(server, account(...of)).map(({ id }) => id)).toEqual(proving)
})

test('a time that was said counts for ten minutes, and none of the future', () => {
  const fresh = (authTime: number) => isFreshSignIn(server, account('says'), { authTime })
  expect([now, now - 600, now + 60].map(fresh)).toEqual([true, true, true])
  expect([now - 601, now + 61, now * 1000].map(fresh)).toEqual([false, false, false])
})

test('one that nobody said counts for who has no better way, and where they can be asked only as the answer to that', () => {
  const counts = (authTimeAssumed: true | 'asked', ...of: readonly Kind[]) =>
    isFreshSignIn(server, account(...of), { authTime: now, authTimeAssumed })
  expect([counts(true, 'never'), counts(true, 'host'), counts('asked', 'asks')]).toEqual([true, true, true])
  expect([counts(true, 'asks'), counts(true, 'never', 'asks'), counts(true, 'says')]).toEqual([false, false, false])
  expect([counts('asked', 'asks', 'says'), counts('asked', 'asks', 'password')]).toEqual([false, false])
  const old = { authTime: now - 601, authTimeAssumed: 'asked' } as const
  expect(isFreshSignIn(server, account('asks'), old)).toBe(false)
})
