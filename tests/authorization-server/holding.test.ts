import { expect, test } from 'vitest'
import { issueCode } from '../../src/authorization-server/grants.ts'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import type { AuthorizationRequest } from '../../src/records/interaction.ts'
import { memory } from '../../src/store/memory.ts'
import type { Store } from '../../src/store/store.ts'
import { movable } from '../store/movable-clock.ts'
import { callback, mcp, redeem, registered, testServer } from '../support/authorization-server.ts'

const verifier = 'a'.repeat(43)
// The S256 challenge of the verifier above.
const codeChallenge = 'ZtNPunH49FD35FWYhT5Tv8I7vRKQJ8uxMaL0_9eHjNA'

/** A store in which something happens right after the next listing of an upstream session's grants. */
const interrupted = (store: Store) => {
  let next: (() => Promise<unknown>) | undefined
  const list: Store['list'] = async (prefix, options) => {
    const listing = await store.list(prefix, options)
    const act = prefix.startsWith('session-grant/') ? next : undefined
    if (act) {
      next = undefined
      await act()
    }
    return listing
  }
  const interrupt = (act: () => Promise<unknown>) => {
    next = act
  }
  return { store: { ...store, list }, interrupt }
}

const begun = async () => {
  const clock = movable()
  const { store, interrupt } = interrupted(memory({ clock }))
  const to = await testServer({ clock, store })
  const client = await registered(to)
  const { server } = to
  const signIn = { issuer: 'https://host.example', subject: 'alice', authTime: 1, said: [] }
  const { account } = await server.accounts.resolve('host', signIn)
  const session = await server.custody.begin(account, 'host', signIn)
  const request: AuthorizationRequest = {
    clientId: client.client_id,
    redirectUri: callback,
    redirectKind: 'loopback',
    redirectHost: '127.0.0.1',
    codeChallenge,
    resources: { [mcp]: ['notes:read'] },
    prompt: [],
  }
  const issue = async () => {
    const approval = { request, account, upstreamSession: session.id, authTime: 1, resources: request.resources }
    return { ...(await issueCode(server, approval)), verifier, subject: account.subject }
  }
  return { to, client, server, session, interrupt, issue }
}

test('a grant that is made while its upstream session is being released keeps the session', async () => {
  const { to, client, server, session, interrupt, issue } = await begun()
  let made: Awaited<ReturnType<typeof issue>> | undefined
  interrupt(async () => {
    made = await issue()
  })
  await server.custody.release(session.id)
  if (!made) throw new Error('nothing happened during the release')
  const tokens = await redeem(to, client, made)
  expect(tokens.status).toBe(200)
  const token = await createOwnVerifier(server).verify(tokens.body.access_token, mcp)
  expect(token).toMatchObject({ subject: made.subject, upstream: { subject: 'alice' } })
})

test('no grant is made on an upstream session that is over', async () => {
  const { server, session, issue } = await begun()
  await server.custody.release(session.id)
  await expect(issue()).rejects.toMatchObject({ name: 'StoreUnavailable' })
})
