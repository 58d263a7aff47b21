import { expect, test } from 'vitest'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import { memory } from '../../src/store/memory.ts'
import { stopped } from '../store/movable-clock.ts'
import { callback, mcp, otherMcp, postToken, revoke, signedIn, testServer } from '../support/authorization-server.ts'
import { unreliable } from '../support/unreliable-store.ts'

/** What a verifier of this server's own tokens remembers, and what it does not. */

const secret = 'a client secret of more than 32 characters'
const clients = [
  { id: 'app', secret, redirectUris: [callback] },
  { id: 'notes', secret, exchange: { serves: ['/mcp'], to: { [otherMcp]: ['other:read'] } } },
]
const app = { client_id: 'app', client_secret: secret }

const setUp = async () => {
  const clock = stopped()
  const store = unreliable(memory({ clock }))
  const listeners = new Set<(message: string) => void>()
  const { watch } = store
  store.watch = (listener) => {
    listeners.add(listener)
    const unwatch = watch(listener)
    return () => {
      listeners.delete(listener)
      unwatch()
    }
  }
  const to = await testServer({ clients, clock, store, lifetimes: { accessToken: 3_600 } })
  const { access_token: token } = await signedIn(to, app)
  const verifier = createOwnVerifier(to.server)
  const lookUps = () => store.calls.get
  return { to, clock, store, token, verifier, lookUps, listeners }
}

test('a token is looked up again after a minute, and not before', async () => {
  const { clock, token, verifier, lookUps } = await setUp()
  await verifier.verify(token, mcp)
  const before = lookUps()
  await clock.pass(59_999)
  await verifier.verify(token, mcp)
  expect(lookUps()).toBe(before)
  await clock.pass(1)
  await verifier.verify(token, mcp)
  expect(lookUps()).toBeGreaterThan(before)
})

test('nor is it believed for longer by a clock that was set back', async () => {
  const { clock, token, verifier, lookUps } = await setUp()
  await verifier.verify(token, mcp)
  const before = lookUps()
  await clock.pass(-1)
  await verifier.verify(token, mcp)
  expect(lookUps()).toBeGreaterThan(before)
})

test('many that come at once get each its own token, for its own resource', async () => {
  const { to, token, verifier } = await setUp()
  const { access_token: bob } = await signedIn(to, app, { person: 'bob' })
  const [first, second, wrong, again] = await Promise.all([
    verifier.verify(token, mcp),
    verifier.verify(bob, mcp),
    verifier.verify(token, otherMcp).catch((error: unknown) => error),
    verifier.verify(token, mcp),
  ])
  expect([first.token, second.token]).toEqual([token, bob])
  expect(first.subject).not.toBe(second.subject)
  expect(again).toBe(first)
  expect(wrong).toMatchObject({ name: 'TokenInvalid', reason: 'audience' })
})

test('a token that was exchanged is not let in when what it comes of is revoked while it is looked up', async () => {
  const { to, store, token, verifier } = await setUp()
  const { body } = await postToken(to, {
    ...{ grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', client_id: 'notes', client_secret: secret },
    ...{ subject_token: token, subject_token_type: 'urn:ietf:params:oauth:token-type:access_token' },
    resource: otherMcp,
  })
  const child = body.access_token
  // The log was read, so that only what this node hears of counts.
  await verifier.verify(token, mcp)
  const { get } = store
  store.get = async (keys) => {
    const snapshot = await get(keys)
    if (keys.some((key) => key.startsWith('upstream-session/'))) {
      store.get = get
      await revoke(to, app, token)
    }
    return snapshot
  }
  await expect(verifier.verify(child, otherMcp)).rejects.toMatchObject({ reason: 'revoked' })
  expect(store.get).toBe(get)
})

test('what is recalled without waiting is what was verified, while the revocation log is fresh', async () => {
  const { clock, token, verifier } = await setUp()
  expect(verifier.recall?.(token, mcp)).toBeUndefined()
  const verified = await verifier.verify(token, mcp)
  expect(verifier.recall?.(token, mcp)).toBe(verified)
  expect(verifier.recall?.(token, otherMcp)).toBeUndefined()
  await clock.pass(5_000)
  expect(verifier.recall?.(token, mcp)).toBeUndefined()
})

test('for introspection, a resource that the asker does not serve is told apart, remembered or not', async () => {
  const { clock, token, verifier } = await setUp()
  const inspect = (...resources: string[]) => verifier.inspect(token, (resource) => resources.includes(resource))
  await expect(inspect(otherMcp)).rejects.toMatchObject({ name: 'TokenInvalid', reason: 'audience' })
  expect((await inspect(otherMcp, mcp)).token).toBe(token)
  await expect(inspect(otherMcp)).rejects.toMatchObject({ name: 'TokenInvalid', reason: 'audience' })
  await clock.pass(3_601_000)
  await expect(inspect(mcp)).rejects.toMatchObject({ name: 'TokenInvalid', reason: 'expired' })
})

test('for introspection, the store’s clock counts where it is ahead', async () => {
  const { store, token, verifier } = await setUp()
  const { list } = store
  store.list = async (prefix, options) => {
    const answer = await list(prefix, options)
    return { ...answer, now: answer.now + 3_601_000 }
  }
  await expect(verifier.inspect(token, () => true)).rejects.toMatchObject({ name: 'TokenInvalid', reason: 'expired' })
})

test('it says the store’s time for the rest of the server, as far as it read the revocation log', async () => {
  const { clock, store, token, verifier } = await setUp()
  const { list } = store
  store.list = async (prefix, options) => {
    const answer = await list(prefix, options)
    return { ...answer, now: answer.now + 7_000 }
  }
  await verifier.verify(token, mcp)
  expect(verifier.storeTime()).toBe(clock.now() + 7_000)
  await clock.pass(5_000)
  expect(verifier.storeTime()).toBeUndefined()
})

test('our own trouble is logged with its cause, and is no word about the token', async () => {
  const { to, store, token, verifier } = await setUp()
  store.get = () => Promise.reject(new TypeError('a mistake of ours'))
  const error = await verifier.verify(token, mcp).catch((reason: unknown) => reason)
  expect(error).toMatchObject({ name: 'VerifierUnavailable', cause: { message: 'a mistake of ours' } })
  expect(to.trouble).toEqual([expect.stringContaining('"error"')])
})

test('closed, it listens to nobody any more', async () => {
  const { to, verifier, listeners } = await setUp()
  const open = listeners.size
  let dropped = 0
  const whenDropped = () => () => {
    dropped += 1
  }
  const keys = { ...to.server.keys, whenDropped }
  const another = createOwnVerifier({ ...to.server, keys })
  expect(listeners.size).toBe(open + 1)
  another.close()
  expect([listeners.size, dropped]).toEqual([open, 1])
  verifier.close()
  expect(listeners.size).toBe(open - 1)
})
