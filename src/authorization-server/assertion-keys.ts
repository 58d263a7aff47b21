import type { CryptoKey, FlattenedJWSInput, JWSHeaderParameters } from 'jose'
import type { Clock } from '../events/clock.ts'
import type { GuardedFetch } from '../net/guarded-fetch.ts'
import { isSecureUrl } from '../oauth/loopback.ts'
import { refreshedValue } from '../upstream/refreshed-value.ts'
import type { AssertionIssuer } from './assertion-options.ts'
import { ClientKeysUnavailable, createClientKeyLookup } from './client-keys.ts'
import { createOperatorFetch } from './operator-fetch.ts'

/**
 * The keys of a trusted issuer that may have signed an assertion.
 * @param now milliseconds since the epoch
 * @throws ClientKeysUnavailable they can't be had now
 */
export type AssertionKeyLookup = (
  issuer: AssertionIssuer,
  header: JWSHeaderParameters,
  assertion: FlattenedJWSInput,
  now: number,
) => Promise<readonly CryptoKey[]>

// Milliseconds.
const metadataFreshFor = 3_600_000
const metadataRetryAfter = 3_000

/** @param fetch the operator's, as for providers: whom it asks, the operator has named */
export const createAssertionKeyLookup = (fetch: typeof globalThis.fetch, clock: Clock): AssertionKeyLookup => {
  const bounded = createOperatorFetch(fetch)
  const lookUp = createClientKeyLookup(bounded)
  const discovered = new Map<string, () => Promise<string>>()
  const discover = (issuer: string): Promise<string> => {
    const known = discovered.get(issuer)
    if (known) return known()
    const load = () => discoverKeys(bounded, issuer)
    const value = refreshedValue(load, { clock, freshFor: metadataFreshFor, retryAfter: metadataRetryAfter })
    discovered.set(issuer, value)
    return value()
  }
  return async ({ issuer, jwks, jwksUri }, header, assertion, now) =>
    lookUp(jwks ? { jwks } : { jwksUri: jwksUri ?? (await discover(issuer)) }, header, assertion, now)
}

/** Platforms publish OpenID's document, even where they are no OpenID Provider. @see OpenID Connect Discovery 1.0 §4, RFC 8414 §3 */
const discoverKeys = async (fetch: GuardedFetch, issuer: string): Promise<string> => {
  const { origin, pathname } = new URL(issuer)
  const path = pathname.replace(/\/$/, '')
  const places = [
    `${origin}${path}/.well-known/openid-configuration`,
    `${origin}/.well-known/oauth-authorization-server${path}`,
  ]
  const problems: string[] = []
  for (const place of places) {
    try {
      const response = await fetch(place)
      if (response.status !== 200) throw new Error(`it answers ${response.status}`)
      const metadata = (await response.json()) as { issuer?: unknown; jwks_uri?: unknown }
      if (metadata.issuer !== issuer) throw new Error('it is the metadata of another issuer')
      return checkedUri(metadata.jwks_uri)
    } catch (error) {
      problems.push(`${place}: ${error instanceof Error ? error.message : 'failed'}`)
    }
  }
  throw new ClientKeysUnavailable(`no keys of ${issuer}: ${problems.join('; ')}`)
}

const checkedUri = (uri: unknown): string => {
  if (typeof uri === 'string' && isSecureUrl(uri)) return new URL(uri).href
  throw new Error('it names no jwks_uri that can be used')
}
