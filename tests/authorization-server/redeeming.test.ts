import { decodeJwt, decodeProtectedHeader } from 'jose'
import { describe, expect, test } from 'vitest'
import { getClient } from '../../src/authorization-server/clients.ts'
import { listGrants } from '../../src/authorization-server/grant-list.ts'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import { clientRef } from '../../src/records/client.ts'
import {
  approved,
  basic,
  callback,
  eventTypes,
  issuer,
  mcp,
  postToken,
  redeem,
  refresh,
  registered,
  signedIn,
  testServer,
} from '../support/authorization-server.ts'

describe('redeeming a code', () => {
  test('answers an RFC 9068 access token and a refresh token', async () => {
    const to = await testServer({ tokenClaims: ['email', 'absent'] })
    const client = await registered(to)
    const code = await approved(to, client, { scopes: ['notes:read', 'notes:write'] })
    const { status, headers, body } = await redeem(to, client, code)
    expect(status).toBe(200)
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.get('access-control-allow-origin')).toBe('*')
    expect(body).toEqual({
      access_token: expect.any(String),
      refresh_token: expect.stringMatching(/^cs_rt_[\w-]{22}\.[\w-]{22}\.1\.[\w-]+\.[\w-]{43}$/),
      token_type: 'Bearer',
      expires_in: 600,
      scope: 'notes:read notes:write',
    })
    const { kid } = to.server.keys.jwks().keys[0] ?? {}
    expect(decodeProtectedHeader(body.access_token)).toEqual({ alg: 'ES256', typ: 'at+jwt', kid })
    const claims = decodeJwt(body.access_token)
    expect(claims).toEqual({
      iss: issuer,
      sub: code.subject,
      aud: mcp,
      client_id: client.client_id,
      scope: 'notes:read notes:write',
      iat: expect.any(Number),
      exp: (claims.iat ?? 0) + 600,
      jti: expect.any(String),
      auth_time: expect.any(Number),
      grant_id: code.grant,
      upstream_provider: 'host',
      upstream_claims: { iss: 'https://host.example', sub: 'alice', email: 'alice@example.org' },
    })
    expect(eventTypes(to)).toEqual(['code.redeemed'])
  })

  test('design 1: the upstream claims that are not named are not in the token, which its client can read', async () => {
    const to = await testServer()
    const { access_token } = await signedIn(to, await registered(to), { said: { email: 'alice@example.org' } })
    expect(decodeJwt(access_token).upstream_claims).toEqual({ iss: 'https://host.example', sub: 'alice' })
  })

  test('design 3, redeeming: client, redirect URI and PKCE are checked first; failing them changes nothing', async () => {
    const to = await testServer()
    const client = await registered(to)
    const other = await registered(to)
    const code = await approved(to, client)
    const another = await approved(to, client)
    const wrong = [
      () => redeem(to, other, code),
      () => redeem(to, client, code, { redirect_uri: `${callback}/` }),
      () => redeem(to, client, code, { redirect_uri: 'http://127.0.0.1:41235/callback' }),
      () => redeem(to, client, code, { code_verifier: another.verifier }),
      () => redeem(to, client, { ...code, code: `${code.code.slice(0, -43)}${another.code.slice(-43)}` }),
    ]
    for (const attempt of wrong) {
      const { status, body } = await attempt()
      expect([status, body.error]).toEqual([400, 'invalid_grant'])
    }
    expect(eventTypes(to)).toEqual(wrong.map(() => 'code.refused'))
    expect((await redeem(to, client, code)).status).toBe(200)
    // Nor do they once the code is spent, however late.
    await to.pass(60_000)
    for (const attempt of wrong) expect((await attempt()).body.error).toBe('invalid_grant')
    expect(eventTypes(to)).not.toContain('grant.revoked')
    expect(eventTypes(to)).not.toContain('code.replayed')
  })

  test('design 3, redeeming: a valid duplicate within 10 s gets invalid_grant and revokes nothing', async () => {
    const to = await testServer()
    const client = await registered(to)
    const code = await approved(to, client)
    const { body } = await redeem(to, client, code)
    await to.pass(9_000)
    const duplicate = await redeem(to, client, code)
    expect([duplicate.status, duplicate.body.error]).toEqual([400, 'invalid_grant'])
    expect((await refresh(to, client, body.refresh_token)).status).toBe(200)
    expect(to.events).toContainEqual(expect.objectContaining({ type: 'code.replayed', revoked: false }))
  })

  test('fault 1: of 8 concurrent redemptions in one process one succeeds, and its tokens stay good', async () => {
    const to = await testServer()
    const client = await registered(to)
    const code = await approved(to, client)
    const answers = await Promise.all(Array.from({ length: 8 }, () => redeem(to, client, code)))
    const [succeeded, ...others] = answers.toSorted((a, b) => a.status - b.status)
    expect([succeeded?.status, others.map(({ body }) => body.error)]).toEqual([200, Array(7).fill('invalid_grant')])
    expect((await refresh(to, client, succeeded?.body.refresh_token ?? '')).status).toBe(200)
    expect(eventTypes(to).filter((type) => type === 'code.redeemed')).toHaveLength(1)
    expect(eventTypes(to)).not.toContain('grant.revoked')
  })

  test('design 3, redeeming: a later duplicate revokes the grant', async () => {
    const to = await testServer()
    const client = await registered(to)
    const code = await approved(to, client)
    const { body } = await redeem(to, client, code)
    await to.pass(11_000)
    expect((await redeem(to, client, code)).body.error).toBe('invalid_grant')
    expect((await refresh(to, client, body.refresh_token)).body.error).toBe('invalid_grant')
    await expect(createOwnVerifier(to.server).verify(body.access_token, mcp)).rejects.toMatchObject({
      reason: 'revoked',
    })
    expect(eventTypes(to)).toEqual(['code.redeemed', 'grant.revoked', 'code.replayed', 'refresh.refused'])
    expect(to.events).toContainEqual(expect.objectContaining({ type: 'grant.revoked', by: 'code_replay' }))
  })

  test('design 3, redeeming: an unredeemed grant expires with its code, and no list shows it', async () => {
    const to = await testServer()
    const client = await registered(to)
    const code = await approved(to, client)
    const [account] = to.events.flatMap((event) => (event.type === 'code.issued' ? [event.account] : []))
    expect((await listGrants(to.server, account ?? '')).grants).toEqual([])
    await to.pass(61_000)
    expect((await redeem(to, client, code)).body.error).toBe('invalid_grant')
    const { entries } = await to.store.list('', { limit: 1000 })
    expect(entries.filter(({ key }) => key.includes('grant'))).toEqual([])

    const second = await approved(to, client)
    await redeem(to, client, second)
    expect((await listGrants(to.server, account ?? '')).grants.map(({ id }) => id)).toEqual([second.grant])
  })

  test('fault 20: PKCE is not optional, and the redirect URI is that of the request', async () => {
    const to = await testServer()
    const client = await registered(to, { redirect_uris: [callback, 'https://client.example/callback'] })
    const code = await approved(to, client)
    for (const left of ['code_verifier', 'redirect_uri', 'code']) {
      expect((await redeem(to, client, code, { [left]: undefined })).body.error, left).toBe('invalid_request')
    }
    const registeredToo = { redirect_uri: 'https://client.example/callback' }
    expect((await redeem(to, client, code, registeredToo)).body.error).toBe('invalid_grant')
    // `plain` would take the challenge itself.
    expect((await redeem(to, client, code, { code_challenge_method: 'plain' })).status).toBe(200)
  })

  test('fault 7: a foreign resource at the token endpoint is invalid_target, and one that is left out is inherited', async () => {
    const to = await testServer()
    const client = await registered(to)
    const code = await approved(to, client)
    for (const resource of [
      'https://evil.example/mcp',
      'https://other.example.com/mcp',
      [mcp, 'https://evil.example'],
    ]) {
      const { status, body } = await redeem(to, client, code, { resource })
      expect([status, body.error]).toEqual([400, 'invalid_target'])
    }
    const { body } = await redeem(to, client, code, { resource: [mcp, `${mcp}/`] })
    expect(decodeJwt(body.access_token).aud).toBe(mcp)
    expect(
      (await refresh(to, client, body.refresh_token, { resource: 'https://other.example.com/mcp' })).body.error,
    ).toBe('invalid_target')
    const { body: inherited } = await refresh(to, client, body.refresh_token)
    expect(decodeJwt(inherited.access_token).aud).toBe(mcp)
  })

  test('a client that is not registered for refresh tokens gets none, and its grant ends with its access token', async () => {
    const to = await testServer()
    const client = await registered(to, { grant_types: ['authorization_code'] })
    const code = await approved(to, client)
    const { body } = await redeem(to, client, code)
    expect(body).not.toHaveProperty('refresh_token')
    const verifier = createOwnVerifier(to.server)
    expect((await verifier.verify(body.access_token, mcp)).subject).toBe(code.subject)
    expect((await refresh(to, client, 'cs_rt_x')).body.error).toBe('unauthorized_client')
    await to.pass(601_000)
    const { entries } = await to.store.list('', { limit: 1000 })
    expect(entries.filter(({ key }) => key.includes('grant'))).toEqual([])
  })

  test('fault 19: a code is no refresh token, a refresh token no code, an access token neither', async () => {
    const to = await testServer()
    const client = await registered(to)
    const code = await approved(to, client)
    const { body } = await redeem(to, client, code)
    for (const token of [code.code, body.access_token]) {
      expect((await refresh(to, client, token)).body.error).toBe('invalid_grant')
    }
    for (const token of [body.refresh_token, body.access_token]) {
      expect((await redeem(to, client, { ...code, code: token })).body.error).toBe('invalid_grant')
    }
    await expect(createOwnVerifier(to.server).verify(body.refresh_token, mcp)).rejects.toMatchObject({
      reason: 'malformed',
    })
    expect((await refresh(to, client, body.refresh_token)).status).toBe(200)
  })

  test('a client that is deleted while its code is redeemed gets nothing, and does not come back', async () => {
    const to = await testServer()
    const client = await registered(to)
    const code = await approved(to, client)
    const { commit } = to.store
    to.store.commit = async (batch) => {
      to.store.commit = commit
      // Its record goes first, its grants after that.
      await to.server.records.commit({ deletes: [clientRef(client.client_id)] })
      return to.store.commit(batch)
    }
    const { status, body } = await redeem(to, client, code)
    expect([status, body.error]).toEqual([400, 'invalid_grant'])
    expect(to.events.at(-1)).toMatchObject({ reason: 'client_gone' })
    expect(to.store.commit).toBe(commit)
    expect(await getClient(to.server, client.client_id)).toBeUndefined()
  })

  test('fault 8: a registration lives longer than the grants that use it', async () => {
    const day = 86_400_000
    const to = await testServer()
    const client = await registered(to)
    const unused = await registered(to)
    await to.pass(29 * day)
    let { refresh_token } = await signedIn(to, client)
    await to.pass(2 * day)
    expect((await refresh(to, unused, refresh_token)).body.error).toBe('invalid_client')
    for (let days = 2; days < 364; days += 20) {
      const { status, body } = await refresh(to, client, refresh_token)
      expect(status, `after ${days} days`).toBe(200)
      refresh_token = body.refresh_token
      await to.pass(20 * day)
    }
    const { status, body } = await refresh(to, client, refresh_token)
    expect([status, body.error]).toEqual([400, 'invalid_grant'])
    await to.pass(40 * day)
    expect((await refresh(to, client, refresh_token)).body.error).toBe('invalid_client')
  })
})

describe('who the client is', () => {
  test('a confidential client shows its secret by header, percent-encoded or not, or in the body', async () => {
    const to = await testServer()
    for (const method of ['client_secret_basic', 'client_secret_post']) {
      const { client_id: id, client_secret: secret = '' } = await registered(to, { token_endpoint_auth_method: method })
      const token = async () => (await signedIn(to, { client_id: id, client_secret: secret })).refresh_token
      const form = async () => ({ grant_type: 'refresh_token', refresh_token: await token() })
      expect((await postToken(to, await form(), basic(id, secret))).status).toBe(200)
      expect(
        (await postToken(to, await form(), basic(encodeURIComponent(id), secret.replace('_', '%5F')))).status,
      ).toBe(200)
      expect((await postToken(to, { ...(await form()), client_id: id, client_secret: secret })).status).toBe(200)
    }
  })

  test('a public client may send its id by header, with no secret', async () => {
    const to = await testServer()
    const client = await registered(to)
    const { refresh_token } = await signedIn(to, client)
    const form = { grant_type: 'refresh_token', refresh_token }
    expect((await postToken(to, form, basic(client.client_id, ''))).status).toBe(200)
    expect((await postToken(to, form, basic(client.client_id, 'made up'))).body.error).toBe('invalid_client')
  })

  test('fault 9: what is a client somewhere else, of the provider for example, is none here', async () => {
    const to = await testServer()
    const code = await approved(to, { client_id: 'upstream-app' })
    const { status, body } = await redeem(to, { client_id: 'upstream-app' }, code)
    expect([status, body.error]).toEqual([401, 'invalid_client'])
  })

  test('who is unknown, or does not prove who it is, gets invalid_client and nothing changes', async () => {
    const to = await testServer()
    const client = await registered(to, { token_endpoint_auth_method: 'client_secret_basic' })
    const open = await registered(to)
    const code = await approved(to, client)
    const { client_secret, ...idOnly } = client
    const refused = [
      await redeem(to, { client_id: 'cs_cl_nobody' }, code),
      await redeem(to, idOnly, code),
      await redeem(to, { ...client, client_secret: `${client_secret}x` }, code),
      await redeem(to, { ...open, client_secret: 'made up' }, code),
    ]
    for (const { status, body, headers } of refused) {
      expect([status, body.error, headers.get('www-authenticate')]).toEqual([401, 'invalid_client', null])
    }
    const form = {
      grant_type: 'authorization_code',
      code: code.code,
      code_verifier: code.verifier,
      redirect_uri: callback,
    }
    const byHeader = await postToken(to, form, basic(client.client_id, 'wrong'))
    expect([byHeader.status, byHeader.headers.get('www-authenticate')]).toEqual([401, 'Basic realm="token"'])
    expect((await redeem(to, client, code)).status).toBe(200)
    expect(to.events.filter(({ type }) => type === 'code.refused')).toHaveLength(5)
  })

  test('design 6: what is no token request gets the RFC’s JSON error and an audit event', async () => {
    const to = await testServer()
    const client = await registered(to)
    const cases = [
      [{ ...client }, 'invalid_request'],
      [{ ...client, grant_type: 'password' }, 'unsupported_grant_type'],
      [{ ...client, grant_type: 'toString' }, 'unsupported_grant_type'],
      [{ grant_type: 'refresh_token', refresh_token: 'x' }, 'invalid_request'],
      [{ ...client, grant_type: ['refresh_token', 'refresh_token'], refresh_token: 'x' }, 'invalid_request'],
    ] as const
    for (const [form, error] of cases) {
      const { status, headers, body } = await postToken(to, form)
      expect([status, body.error, headers.get('content-type')]).toEqual([400, error, 'application/json'])
      expect(headers.get('cache-control')).toBe('no-store')
    }
    expect(eventTypes(to)).toEqual([
      'token.refused',
      'token.refused',
      'token.refused',
      'refresh.refused',
      'token.refused',
    ])
  })
})
