import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createAccounts } from '../../src/upstream/accounts.ts'
import { createCustody } from '../../src/upstream/custody.ts'
import { entra } from '../../src/upstream/entra.ts'
import { github } from '../../src/upstream/github.ts'
import { google } from '../../src/upstream/google.ts'
import { okta } from '../../src/upstream/okta.ts'
import type { Provider, SignIn } from '../../src/upstream/provider.ts'
import { emulatedClient, emulatedTenant, startEmulatedProviders } from '../support/emulated-providers.ts'
import { named, plainRequest, redirecting, redirectUri, rejection, testContext } from './context.ts'

const mine = emulatedClient
const tenant = emulatedTenant

let emulators: Awaited<ReturnType<typeof startEmulatedProviders>>
beforeAll(async () => {
  emulators = await startEmulatedProviders([redirectUri])
}, 240_000)
afterAll(() => emulators?.stop())

const at = async (provider: Provider) => {
  const context = await testContext({ fetch: emulators.fetch })
  const open = redirecting(provider.open(context))
  const signIn = async (person: string): Promise<SignIn> => {
    const { url, pending } = await open.begin(plainRequest)
    return open.complete(await emulators.pick(url, person), pending, redirectUri)
  }
  return { context, open, signIn }
}

const presets = [
  {
    provider: github({ ...mine, organizations: true }),
    person: 'alice',
    issuer: 'https://github.com/login/oauth',
    claims: { preferred_username: 'alice', login: 'alice', name: 'Alice Example', email: 'alice@example.com' },
    renews: false,
  },
  {
    provider: google(mine),
    person: 'alice@example.com',
    issuer: 'https://accounts.google.com',
    claims: { email: 'alice@example.com', email_verified: true, name: 'Alice Example', hd: 'example.com' },
    renews: true,
  },
  {
    provider: entra({ ...mine, tenant }),
    person: 'alice@example.com',
    issuer: `https://login.microsoftonline.com/${tenant}/v2.0`,
    claims: { tid: tenant, email: 'alice@example.com', preferred_username: 'alice@example.com', name: 'Alice Example' },
    renews: true,
  },
  {
    provider: okta({ ...mine, domain: 'example.okta.com', authorizationServer: 'default' }),
    person: 'alice@example.com',
    issuer: 'https://example.okta.com/oauth2/default',
    claims: { email: 'alice@example.com', preferred_username: 'alice@example.com', name: 'Alice Example' },
    renews: true,
  },
]

describe.each(presets)('$provider.id', ({ provider, person, issuer, claims, renews }) => {
  test('fault 15: who the person is, is the same after sign-in, after a renewal, and after a restart', async () => {
    const { context, signIn } = await at(provider)
    const said = await signIn(person)
    expect(said).toMatchObject({ issuer, subject: expect.stringMatching(/./) })
    expect(JSON.stringify(said.said)).not.toContain(said.tokens?.accessToken)

    const node = (of: typeof context) => {
      const providers = [named(provider, of)]
      return { accounts: createAccounts(of, { subject: 'random', providers }), custody: createCustody(of, providers) }
    }
    const { accounts, custody } = node(context)
    const { account } = await accounts.resolve(provider.id, said)
    const session = await custody.begin(account, provider.id, said)
    const seen = async (by: typeof custody) => {
      const identified = await by.identity(session.id)
      if (typeof identified === 'string') throw new Error(identified)
      const { issuer, subject, claims } = identified.facts
      // What only says when a statement was made is another in each.
      const { iat: _iat, exp: _exp, nonce: _nonce, at_hash: _hash, auth_time: _time, jti: _jti, ...lasting } = claims
      return { issuer, subject, claims: lasting }
    }
    const first = await seen(custody)
    expect(first).toMatchObject({
      issuer,
      subject: said.subject,
      claims: { ...claims, iss: issuer, sub: said.subject },
    })

    const before = await custody.accessToken(session.id)
    expect(before).toBe(said.tokens?.accessToken)
    await context.clock.pass(2 * 3_600_000)
    const after = await custody.accessToken(session.id)
    expect(after !== before).toBe(renews)
    expect(await seen(custody)).toEqual(first)

    const restarted = node(await testContext(context))
    expect(await seen(restarted.custody)).toEqual(first)
    expect(await restarted.accounts.resolve(provider.id, await signIn(person))).toMatchObject({
      account: { id: account.id },
      created: false,
    })
  })

  test('a code that was used is of no use', async () => {
    const { open } = await at(provider)
    const { url, pending } = await open.begin(plainRequest)
    const callback = await emulators.pick(url, person)
    await open.complete(callback, pending, redirectUri)
    const again = await rejection(open.complete(callback, pending, redirectUri))
    expect(again).toMatchObject({ name: 'SignInRefused', reason: 'untrusted' })
  })
})

test('GitHub: the number is the subject; e-mail and organizations are asked; granted scopes are kept', async () => {
  const { signIn } = await at(github({ ...mine, organizations: true }))
  const alice = await signIn('alice')
  const [statement] = alice.said
  expect(alice.subject).toBe(String(statement?.claims.id))
  expect(statement?.claims).toMatchObject({
    emails: [{ email: 'alice@example.com', primary: true }],
    organizations: [{ login: 'acme' }],
  })
  expect(alice.tokens).toMatchObject({ scope: 'read:user user:email' })
  expect(alice.tokens?.refreshToken).toBeUndefined()
  expect((await signIn('bob')).subject).not.toBe(alice.subject)
})

test('GitHub: errors come with status 200, and are told apart all the same', async () => {
  const { signIn } = await at(github({ ...mine, clientSecret: 'another' }))
  const failure = await rejection(signIn('alice'))
  expect(failure).toMatchObject({ name: 'ProviderUnavailable', nothingDone: true })
  expect(String((failure as Error).stack)).not.toContain('another')
})

test('GitHub: an answer of another issuer is refused', async () => {
  const { open } = await at(github(mine))
  const { url, pending } = await open.begin(plainRequest)
  const callback = await emulators.pick(url, 'alice')
  callback.searchParams.set('iss', 'https://evil.example.com')
  expect(await rejection(open.complete(callback, pending, redirectUri))).toMatchObject({ reason: 'untrusted' })
  callback.searchParams.set('iss', 'https://github.com/login/oauth')
  expect(await open.complete(callback, pending, redirectUri)).toMatchObject({
    issuer: 'https://github.com/login/oauth',
  })
})

test('Entra: somebody of another tenant is refused', async () => {
  const other = '11111111-2222-3333-4444-555555555555'
  const { open } = await at(entra({ ...mine, tenant: other }))
  const { url, pending } = await open.begin(plainRequest)
  const callback = await emulators.pick(url, 'alice@example.com')
  expect(await rejection(open.complete(callback, pending, redirectUri))).toMatchObject({ reason: 'untrusted' })
})
