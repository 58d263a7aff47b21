import { SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { listGrants } from '../../src/authorization-server/grant-list.ts'
import { revokeGrantById } from '../../src/authorization-server/grants.ts'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import { revokeEndpoint } from '../../src/authorization-server/revoke.ts'
import { sqlite } from '../../src/store/sqlite.ts'
import {
  answered,
  approved,
  eventTypes,
  formPost,
  mcp,
  redeem,
  refresh,
  registered,
  revoke,
  signedIn,
  type Tokens,
  testServer,
} from '../support/authorization-server.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

describe('fault 6: revocation', () => {
  for (const method of ['none', 'client_secret_post']) {
    for (const which of ['access_token', 'refresh_token'] as const) {
      test(`by a client with ${method}, of the ${which}: ends the grant`, async () => {
        const to = await testServer()
        const client = await registered(to, { token_endpoint_auth_method: method })
        const tokens = await signedIn(to, client)
        const others = await signedIn(to, client)
        const { status, body, headers } = await revoke(to, client, tokens[which], { token_type_hint: 'anything' })
        expect([status, body, headers.get('cache-control')]).toEqual([200, {}, 'no-store'])
        expect((await refresh(to, client, tokens.refresh_token)).body.error).toBe('invalid_grant')
        const verifier = createOwnVerifier(to.server)
        await expect(verifier.verify(tokens.access_token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
        // Of this grant, and of no other.
        expect((await verifier.verify(others.access_token, mcp)).kind).toBe('user')
        expect((await refresh(to, client, others.refresh_token)).status).toBe(200)
        expect(to.events).toContainEqual(expect.objectContaining({ type: 'grant.revoked', by: 'client' }))
        // Once more is the same answer.
        expect((await revoke(to, client, tokens[which])).status).toBe(200)
      })
    }
  }

  test('a superseded refresh token and an expired access token mean the same grant', async () => {
    const to = await testServer()
    const client = await registered(to)
    const first = await signedIn(to, client)
    await refresh(to, client, first.refresh_token)
    await to.pass(20 * 60_000)
    await revoke(to, client, first.refresh_token)
    const second = await signedIn(to, client)
    await to.pass(20 * 60_000)
    await revoke(to, client, second.access_token)
    expect((await refresh(to, client, second.refresh_token)).body.error).toBe('invalid_grant')
    expect(eventTypes(to).filter((type) => type === 'grant.revoked')).toHaveLength(2)
  })

  test('fault 19: another client can’t revoke, and who can’t prove who it is can’t either', async () => {
    const to = await testServer()
    const client = await registered(to, { token_endpoint_auth_method: 'client_secret_post' })
    const other = await registered(to)
    const tokens = await signedIn(to, client)
    for (const token of [tokens.access_token, tokens.refresh_token]) {
      const { status, body } = await revoke(to, other, token)
      expect([status, body.error]).toEqual([400, 'invalid_grant'])
      expect((await revoke(to, { client_id: client.client_id }, token)).status).toBe(401)
      expect((await revoke(to, { ...client, client_secret: 'wrong' }, token)).body.error).toBe('invalid_client')
    }
    expect((await refresh(to, client, tokens.refresh_token)).status).toBe(200)
    expect(eventTypes(to).filter((type) => type === 'revocation.refused')).toHaveLength(6)
  })

  test('what is no token of ours is answered like one that was, and changes nothing', async () => {
    const to = await testServer()
    const client = await registered(to)
    const { refresh_token: token, access_token } = await signedIn(to, client)
    const code = await approved(to, client)
    const [grant, session, generation, keyId, mac = ''] = token.slice(6).split('.')
    const payload = JSON.parse(Buffer.from(access_token.split('.')[1] ?? '', 'base64url').toString())
    const forged = await new SignJWT(payload)
      .setProtectedHeader({ alg: 'HS256', typ: 'at+jwt', kid: to.server.keys.signingKey().id })
      .sign(new Uint8Array(32))
    const strangers = [
      'unknown',
      `cs_rt_${grant}.${session}.${generation}.${keyId}.${[...mac].reverse().join('')}`,
      `cs_rt_${grant}`,
      code.code,
      forged,
      'ya29.a0AfH6SMB',
    ]
    for (const stranger of strangers) expect((await revoke(to, client, stranger)).status, stranger).toBe(200)
    expect((await refresh(to, client, token)).status).toBe(200)
    expect((await redeem(to, client, code)).status).toBe(200)
    const missing = await answered(await revokeEndpoint(to.server, formPost('/revoke', { ...client })))
    expect([missing.status, missing.body.error]).toEqual([400, 'invalid_request'])
  })

  test('on every node within the bound: two processes’ worth of handles at one SQLite file', async () => {
    const { path, remove } = temporaryDirectory()
    const stores = [sqlite(`${path}/db`), sqlite(`${path}/db`)] as const
    try {
      const one = await testServer({ store: stores[0] })
      const two = await testServer({ store: stores[1] })
      const client = await registered(one)
      const tokens = await signedIn(one, client)
      const verifier = createOwnVerifier(two.server)
      expect((await verifier.verify(tokens.access_token, mcp)).kind).toBe('user')
      await revoke(one, client, tokens.refresh_token)
      const revokedAt = Date.now()
      let lastGood = revokedAt
      const isRevoked = () => {
        const askedAt = Date.now()
        return verifier.verify(tokens.access_token, mcp).then(
          () => {
            lastGood = askedAt
            return false
          },
          ({ reason }) => reason === 'revoked',
        )
      }
      await expect.poll(isRevoked, { interval: 20 }).toBe(true)
      expect(lastGood - revokedAt).toBeLessThan(5_000)
    } finally {
      await Promise.all(stores.map((store) => store.close()))
      remove()
    }
  })
})

describe('the grants of an account', () => {
  test('are listed while they live, and ended by id, by their own account only', async () => {
    const to = await testServer()
    const client = await registered(to)
    const tokens: Tokens[] = []
    for (let turn = 0; turn < 3; turn++) tokens.push(await signedIn(to, client))
    await signedIn(to, client, { person: 'bob' })
    const accounts = to.events.flatMap((event) => (event.type === 'code.issued' ? [event.account] : []))
    const [alice = '', , , bob = ''] = accounts
    const { grants, cursor } = await listGrants(to.server, alice)
    expect([grants.length, cursor]).toEqual([3, undefined])
    expect((await listGrants(to.server, bob)).grants).toHaveLength(1)
    const id = grants[0]?.id ?? ''
    expect(Object.keys(grants[0] ?? {}).toSorted(), 'nothing that makes or checks a token').toEqual([
      'account',
      'authTime',
      'clientId',
      'createdAt',
      'expiresAt',
      'id',
      'kind',
      'redirectHost',
      'resources',
      'subject',
      'usedAt',
    ])
    expect(await revokeGrantById(to.server, id, 'person', bob)).toBe(false)
    expect(await revokeGrantById(to.server, 'no id', 'person', alice)).toBe(false)
    expect(await revokeGrantById(to.server, id, 'person', alice)).toBe(true)
    expect(await revokeGrantById(to.server, id, 'person', alice)).toBe(false)
    expect((await listGrants(to.server, alice)).grants.map((grant) => grant.id)).not.toContain(id)
    const left = (await to.store.list('', { limit: 1000 })).entries.filter(({ key }) => key.includes(id))
    expect(left.map(({ key }) => key.split('/')[0])).toEqual(['revocation'])
    const alive = await Promise.all(tokens.map(async (each) => (await refresh(to, client, each.refresh_token)).status))
    expect(alive.toSorted()).toEqual([200, 200, 400])
  })

  test('are listed in pages', async () => {
    const to = await testServer()
    const client = await registered(to)
    for (let turn = 0; turn < 120; turn++) await signedIn(to, client)
    const [account = ''] = to.events.flatMap((event) => (event.type === 'code.issued' ? [event.account] : []))
    const first = await listGrants(to.server, account)
    const second = await listGrants(to.server, account, first.cursor)
    expect([first.grants.length, second.grants.length, second.cursor]).toEqual([100, 20, undefined])
    expect(new Set([...first.grants, ...second.grants].map(({ id }) => id)).size).toBe(120)
  })

  test('the last grant of a sign-in takes its upstream session along', async () => {
    const to = await testServer()
    const client = await registered(to)
    const { refresh_token } = await signedIn(to, client)
    expect((await to.store.list('upstream-session/')).entries).toHaveLength(1)
    await revoke(to, client, refresh_token)
    expect((await to.store.list('upstream-session/')).entries).toHaveLength(0)
  })
})
