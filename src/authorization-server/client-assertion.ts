import type { JWTPayload } from 'jose'
import * as errors from 'jose/errors'
import { clientAssertionAlgorithms } from '../oauth/client-assertion.ts'
import { invalidClient } from '../oauth/client-authentication.ts'
import { OAuthError } from '../oauth/errors.ts'
import { jose } from '../oauth/jose.ts'
import type { Client } from '../records/client.ts'
import { clientAssertionRef } from '../records/client-assertion.ts'
import { put } from '../records/records.ts'
import { countAssertion } from './assertion-limit.ts'
import { ClientKeysUnavailable, keysIn } from './client-keys.ts'
import type { Arrival, ClientArrival, ServerContext } from './context.ts'
import { countFetch } from './fetch-limit.ts'

/** Seconds that clocks may differ. */
const skew = 60
/** Seconds: so long the mark of one is kept at most. Assertions are made for one request. */
const longestLife = 3_600

/** Those that a JWT for this use may have; others (`at+jwt`) say that it was made for something else. */
const types: readonly (string | undefined)[] = [undefined, 'jwt', 'client-authentication+jwt']

/**
 * Verifies the assertion with which a client proves that it has its private key, and uses it up.
 * @param now the store's clock
 * @throws OAuthError `invalid_client`; `temporarily_unavailable` where its keys can't be had, or there are too many
 * @see RFC 7523 §3
 */
export const verifyClientAssertion = async (
  server: ServerContext,
  client: Client,
  assertion: string,
  now: number,
  arrival: ClientArrival,
): Promise<void> => {
  const payload = await verified(server, client, assertion, now, arrival)
  const { exp = 0, jti } = payload
  const life = exp * 1000 - now + skew * 1000
  if (life > (longestLife + skew) * 1000) throw invalidClient(null, 'assertion_lives_too_long')
  if (client.source !== 'configured' && arrival.grantOf !== client.id) await countAssertion(server, arrival)
  const ref = clientAssertionRef(client.id, typeof jti === 'string' && jti !== '' ? jti : assertion)
  const { committed } = await server.records.commit({
    unchanged: [ref],
    puts: [put(ref, {}, Math.max(1, Math.ceil(life)))],
  })
  if (!committed) throw invalidClient(null, 'assertion_replayed')
}

const verified = async (
  server: ServerContext,
  client: Client,
  assertion: string,
  now: number,
  arrival: Arrival,
): Promise<JWTPayload> => {
  const { issuer, endpoints, clientMetadataDocuments, knownClientKeys } = server
  const { keys, source } = client
  if (!keys) throw invalidClient(null, 'no_keys')
  // Clients differ in which they take. @see RFC 9126 §2
  const audiences = [issuer, endpoints.token, endpoints.pushed]
  const options = {
    algorithms: [...clientAssertionAlgorithms],
    issuer: client.id,
    subject: client.id,
    audience: audiences,
    requiredClaims: ['exp'],
    clockTolerance: skew,
    currentDate: new Date(now),
  }
  const { decodeProtectedHeader, jwtVerify } = await jose()
  try {
    const header = decodeProtectedHeader(assertion)
    if (!types.includes(header.typ?.toLowerCase())) throw invalidClient(null, 'assertion_of_other_type')
    const [protectedHeader = '', payload = '', signature = ''] = assertion.split('.')
    const input = { protected: protectedHeader, payload, signature }
    if (!options.algorithms.some((algorithm) => algorithm === header.alg))
      throw invalidClient(null, 'assertion_algorithm')
    const found =
      'jwks' in keys
        ? await keysIn(keys.jwks, header, input)
        : source === 'configured'
          ? await knownClientKeys(keys, header, input, now)
          : await clientMetadataDocuments?.keys(keys, header, input, now, () => limitFetches(server, arrival))
    if (!found) throw invalidClient(null, 'no_keys')
    for (const key of found) {
      try {
        const { payload } = await jwtVerify(assertion, key, options)
        // Another server that it was made for, too, could use it here. @see draft-ietf-oauth-rfc7523bis §4
        if (![payload.aud].flat().every((each) => audiences.some((ours) => ours === each))) {
          throw invalidClient(null, 'assertion_for_others_too')
        }
        return payload
      } catch (error) {
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error
      }
    }
    throw invalidClient(null, found.length === 0 ? 'unknown_client_key' : 'wrong_client_key')
  } catch (error) {
    if (error instanceof ClientKeysUnavailable) {
      throw new OAuthError('temporarily_unavailable', 'the keys of the client can not be fetched now', { cause: error })
    }
    if (error instanceof OAuthError) throw error
    // Whatever else a foreign JWT or key leads to says that it is not valid.
    throw invalidClient(null, `assertion_invalid: ${error instanceof errors.JOSEError ? error.code : 'unreadable'}`)
  }
}

const limitFetches = async (server: ServerContext, arrival: Arrival): Promise<void> => {
  const retryAfter = await countFetch(server, arrival)
  if (retryAfter === undefined) return
  throw new OAuthError('temporarily_unavailable', 'too many keys of clients were asked for: try again later', {
    status: 429,
    headers: { 'Retry-After': String(retryAfter) },
    reason: 'rate_limit_keys_per_address',
  })
}
