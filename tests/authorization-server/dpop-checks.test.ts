import { describe, expect, test } from 'vitest'
import { checkBinding, missingProof, nextNonce, readProof, useProof } from '../../src/authorization-server/dpop.ts'
import type { Client } from '../../src/records/client.ts'
import { stopped } from '../store/movable-clock.ts'
import {
  issuer,
  mcp,
  otherMcp,
  registered,
  type TestServerOptions,
  testServer,
} from '../support/authorization-server.ts'
import { dpopKey } from '../support/dpop-key.ts'

const url = `${issuer}/token`

const setUp = async (options: TestServerOptions = {}) => {
  const to = await testServer({ clock: stopped(), ...options })
  const key = await dpopKey(() => to.clock.now())
  const read = (dpop: string | undefined, method = 'POST') =>
    readProof(to.server, new Request(url, { method, headers: dpop === undefined ? {} : { dpop } }), url)
  const proof = (claims = {}) => key.proof('POST', url, undefined, claims)
  return { to, server: to.server, key, read, proof }
}

const refusal = (attempt: Promise<unknown>): Promise<Record<string, unknown>> =>
  attempt.then(
    () => expect.fail('it was not refused'),
    (error) => error,
  )

describe('a proof that came with a request', () => {
  test('is read for its method and its place, by the clock of the server', async () => {
    const { to, key, read, proof } = await setUp()
    expect(await read(undefined)).toBeUndefined()
    expect(await read(await proof())).toMatchObject({ jkt: key.jkt })
    const text = await proof()
    expect(await refusal(read(text, 'PUT'))).toMatchObject({ code: 'invalid_dpop_proof', reason: 'dpop_method' })
    await to.pass(301_000)
    expect(await refusal(read(text))).toMatchObject({ code: 'invalid_dpop_proof', reason: 'dpop_time' })
  })

  test('says why it was refused, to the operator, with the cause', async () => {
    const { read } = await setUp()
    expect(await refusal(read('nonsense'))).toMatchObject({
      ...{ code: 'invalid_dpop_proof', status: 400, reason: 'dpop_malformed' },
      cause: { name: 'DpopProofInvalid', reason: 'malformed' },
    })
  })

  test('that can’t be checked, by a mistake of ours, is not called invalid', async () => {
    const { server } = await setUp()
    const request = new Request(url, { method: 'POST', headers: { dpop: 'x' } })
    const dpop = { ...server.dpop, read: () => Promise.reject(new TypeError('a mistake of ours')) }
    await expect(readProof({ ...server, dpop }, request, url)).rejects.toThrow(TypeError)
  })

  test('is good once', async () => {
    const { server, read, proof } = await setUp()
    const used = (await read(await proof())) ?? expect.fail('no proof')
    await useProof(server, used)
    const error = await refusal(useProof(server, used))
    expect(error).toMatchObject({ code: 'invalid_dpop_proof', reason: 'dpop_replayed' })
    expect(error).not.toHaveProperty('cause')
    await useProof(server, (await read(await proof())) ?? expect.fail('no proof'))
  })
})

describe('RFC 9449 §8: where nonces are asked for', () => {
  test('a proof without one, or with an old one, is told the one to use', async () => {
    const { to, server, read, proof } = await setUp({ dpopNonces: true })
    const current = (await server.dpop.nonces?.current()) ?? expect.fail('no nonce')
    const answer = { code: 'use_dpop_nonce', status: 400, headers: { 'DPoP-Nonce': current } }
    expect(await refusal(read(await proof()))).toMatchObject({ ...answer, reason: 'dpop_nonce_missing' })
    const made = await refusal(read(await proof({ nonce: 'made up' })))
    expect(made).toMatchObject({ ...answer, reason: 'dpop_nonce_old' })
    expect(await read(await proof({ nonce: current }))).toMatchObject({ nonce: current })
    await to.pass(86_400_000)
    const late = await refusal(read(await proof({ nonce: current })))
    expect(late).toMatchObject({ code: 'use_dpop_nonce', reason: 'dpop_nonce_old' })
  })

  test('a good answer names the next one, where it is another', async () => {
    const { server } = await setUp({ dpopNonces: true })
    const current = (await server.dpop.nonces?.current()) ?? expect.fail('no nonce')
    const used = { jkt: 'key', jti: 'one', issuedAt: 0 }
    expect(await nextNonce(server, { ...used, nonce: current })).toEqual({})
    expect(await nextNonce(server, { ...used, nonce: 'the one before' })).toEqual({ 'DPoP-Nonce': current })
    expect(await nextNonce(server, used)).toEqual({ 'DPoP-Nonce': current })
  })

  test('elsewhere none is checked, and none is named', async () => {
    const { server, read, proof } = await setUp()
    expect(await read(await proof({ nonce: 'whatever' }))).toMatchObject({ nonce: 'whatever' })
    const used = { jkt: 'key', jti: 'one', issuedAt: 0 }
    expect(await nextNonce(server, used)).toStrictEqual({})
    expect(await nextNonce(server, { ...used, nonce: 'whatever' })).toStrictEqual({})
  })
})

describe('a token that anybody could use who has it', () => {
  const clientOf = (dpopBoundAccessTokens?: boolean) =>
    ({ ...(dpopBoundAccessTokens === undefined ? {} : { dpopBoundAccessTokens }) }) as Client

  test('is refused to a client that wants none, and for a resource that wants none', async () => {
    const { server } = await setUp({ mcp: { dpopBoundAccessTokensRequired: true } })
    const check = (client: Client, resource: string, jkt?: string) => () => checkBinding(server, client, resource, jkt)
    const missing = expect.objectContaining({ code: 'invalid_dpop_proof', reason: 'dpop_missing' })
    expect(check(clientOf(), mcp)).toThrow(missing)
    expect(check(clientOf(), `${mcp}/`)).toThrow(missing)
    expect(check(clientOf(true), otherMcp)).toThrow(missing)
    expect(check(clientOf(true), mcp)).toThrow(missing)
    expect(check(clientOf(true), 'https://gone.example')).toThrow(missing)
    for (const client of [clientOf(), clientOf(false)]) {
      expect(check(client, otherMcp)).not.toThrow()
      expect(check(client, 'https://gone.example')).not.toThrow()
    }
    for (const resource of [mcp, otherMcp]) expect(check(clientOf(true), resource, 'thumbprint')).not.toThrow()
  })

  test('what is missing is said in words that name no secret', () => {
    expect(missingProof()).toMatchObject({ status: 400, reason: 'dpop_missing', headers: {} })
  })

  test('is what a registered client gets that did not ask for others', async () => {
    const { to, server } = await setUp()
    const { client_id: clientId } = await registered(to)
    expect(() => checkBinding(server, { id: clientId } as Client, mcp, undefined)).not.toThrow()
  })
})
