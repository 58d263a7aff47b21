import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { CryptoKey } from 'jose'
import * as errors from 'jose/errors'
import { systemClock } from '../events/clock.ts'
import { silentLogger } from '../events/logger.ts'
import { type AccessToken, createAccessToken, type UpstreamClaims } from '../identity/access-token.ts'
import { checkBoundKey } from '../identity/confirmation.ts'
import type { JsonObject } from '../identity/json.ts'
import { createTokenMemory } from '../identity/token-memory.ts'
import { TokenInvalid, VerifierUnavailable } from '../identity/verifier.ts'
import { ConfigurationError } from '../oauth/configuration-error.ts'
import { sameResource } from '../oauth/resource.ts'
import { type JwtChecks, type JwtKeyLookup, verifyJwt } from '../oauth/verify-jwt.ts'
import { checkSecureUrl, type Discovered, discover, fetchJson } from './discovery.ts'
import type { IssuerVerifier } from './issuer.ts'
import { readJwtFacts } from './jwt-facts.ts'
import { createKeySet } from './key-set.ts'
import type { RemoteIssuerOptions } from './remote-issuer.ts'
import { applyUpstreamSchema, unsignedClaims } from './upstream-schema.ts'

export interface JwksOptions<Upstream> extends RemoteIssuerOptions<Upstream> {
  /** Where the keys are; by default the issuer's metadata says it. */
  readonly jwksUri?: string
  /** Values of `typ` that are taken; `['at+jwt', 'jwt']` for an issuer older than RFC 9068. Default `['at+jwt']`. */
  readonly types?: readonly string[]
  /** The claim that names the OAuth client. Default `client_id`. */
  readonly clientIdClaim?: string
  /** Default: all asymmetric ones of RFC 7518 and RFC 8037. */
  readonly algorithms?: readonly string[]
}

/**
 * Verifies the JWT access tokens of any issuer that publishes its keys, a remote Countersign among them. Revocation is not seen here:
 * a token is good until it expires.
 * @param issuer byte for byte the `iss` of its tokens and of its metadata
 * @throws ConfigurationError for options that can't be right
 * @see RFC 9068 §4
 */
export const jwks = <Upstream = UpstreamClaims>(
  issuer: string,
  options: JwksOptions<Upstream> = {},
): IssuerVerifier<Upstream> => {
  const { clock = systemClock, logger = silentLogger, clockSkew = 30, clientIdClaim = 'client_id' } = options
  const fetch = options.fetch ?? ((url, init) => globalThis.fetch(url, init))
  checkSecureUrl(issuer, 'issuer')
  if (options.jwksUri !== undefined) checkSecureUrl(options.jwksUri, 'jwksUri')
  if (!(clockSkew >= 0 && clockSkew <= 300)) throw new ConfigurationError('clockSkew', '0 to 300 seconds')
  const algorithms = [...(options.algorithms ?? asymmetric)]
  for (const algorithm of algorithms) {
    if (!asymmetric.includes(algorithm)) throw new ConfigurationError('algorithms', `some of ${asymmetric.join(', ')}`)
  }
  if (clientIdClaim === 'sub')
    throw new ConfigurationError('clientIdClaim', 'another claim: the subject is never the client')
  const types = new Set((options.types ?? ['at+jwt']).map(mediaType))

  const memory = createTokenMemory(options.remembered === undefined ? {} : { capacity: options.remembered })
  let jwksUri = options.jwksUri
  let mistake: ConfigurationError | undefined
  const keys = createKeySet({
    async load() {
      // One bound for all of it: calls wait for this.
      const signal = AbortSignal.timeout(fetchTimeout)
      if (jwksUri === undefined) {
        const discovered = await discover(issuer, fetch, signal)
        mistake = await mistakeIn(options.claims, issuer, discovered)
        if (mistake) logger.error(mistake.message)
        jwksUri = discovered.jwksUri
      }
      try {
        return await fetchJson(jwksUri, fetch, signal)
      } catch (error) {
        // They may have moved: the metadata is read again the next time.
        jwksUri = options.jwksUri
        throw error
      }
    },
    // A key that is gone may have been stolen: what it signed is looked at again.
    changed: memory.forgetAll,
    clock,
    logger,
    freshFor: 10 * minute,
    keptFor: 24 * 60 * minute,
    coolDown: 10_000,
  })

  const isFor = (audience: string | readonly string[] | undefined, resource: string): boolean =>
    [audience ?? []].flat().some((each) => sameResource(each, resource) || options.audiences?.includes(each))

  const verifySigned = async (token: string, resource: string): Promise<Signed> => {
    const checks: JwtChecks = {
      issuer,
      algorithms,
      clockTolerance: clockSkew,
      requiredClaims: ['exp', 'aud', 'sub'],
      currentDate: new Date(clock.now()),
    }
    let candidates: Awaited<ReturnType<typeof keys.keysFor>> = []
    let epoch = memory.epoch()
    const firstKey: JwtKeyLookup = async (header, jws) => {
      // Taken with the keys: that they were fetched for this very token is no reason to forget it, but that they are gone by the end is.
      do {
        epoch = memory.epoch()
        candidates = await keys.keysFor(header, jws)
      } while (epoch !== memory.epoch())
      return candidates[0] as CryptoKey
    }
    const verifyWithOthers = async (error: unknown) => {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error
      for (const key of candidates.slice(1)) {
        try {
          return await verifyJwt(token, key, checks)
        } catch (next) {
          if (!(next instanceof errors.JWSSignatureVerificationFailed)) throw next
        }
      }
      throw error
    }
    const verified = await verifyJwt(token, firstKey, checks).catch(verifyWithOthers)
    if (!isFor(verified.payload.aud, resource)) throw new TokenInvalid('audience')
    if (!types.has(mediaType(verified.protectedHeader.typ ?? ''))) throw new TokenInvalid('type')
    return { payload: verified.payload as JsonObject, epoch }
  }

  // With keys that are out of date, remembered tokens count no more than others.
  const recall = (token: string, resource: string): AccessToken | undefined =>
    keys.isFresh() ? memory.recall(token, resource, clock.now()) : undefined

  return {
    issuer,
    async ready() {
      await keys.ready()
      if (mistake) throw mistake
    },

    async verify(token, resource, jkt) {
      const known = recall(token, resource)
      if (known) {
        checkBoundKey(known.claims, jkt)
        return known as AccessToken<Upstream>
      }
      try {
        const { payload, epoch } = await verifySigned(token, resource)
        const facts = readJwtFacts(token, payload, resource, clientIdClaim, options.isClient)
        const accessToken = createAccessToken(options.claims ? await applyUpstreamSchema(facts, options.claims) : facts)
        memory.remember(accessToken, epoch)
        checkBoundKey(accessToken.claims, jkt)
        return accessToken as AccessToken<Upstream>
      } catch (error) {
        throw refusal(error)
      }
    },

    recall: (token, resource) => recall(token, resource) as AccessToken<Upstream> | undefined,
  }
}

interface Signed {
  readonly payload: JsonObject
  /** Of the memory, when the keys were looked up. */
  readonly epoch: number
}

/** A schema that no token of the issuer can satisfy. */
const mistakeIn = async (
  schema: StandardSchemaV1 | undefined,
  issuer: string,
  { upstreamClaims }: Discovered,
): Promise<ConfigurationError | undefined> => {
  if (!schema || !upstreamClaims) return undefined
  const missing = await unsignedClaims(schema, upstreamClaims)
  if (missing.length === 0) return undefined
  const names = missing.map((claim) => `"${claim}"`).join(', ')
  return new ConfigurationError(
    'claims',
    `only what ${issuer} signs into its tokens, and not ${names}: see its tokenClaims`,
  )
}

/** What went wrong, as a verifier says it: only errors about the token itself are the token's fault. */
const refusal = (error: unknown): TokenInvalid | VerifierUnavailable => {
  if (error instanceof TokenInvalid || error instanceof VerifierUnavailable) return error
  if (error instanceof errors.JWTExpired) return new TokenInvalid('expired', { cause: error })
  if (error instanceof errors.JWTClaimValidationFailed) {
    return new TokenInvalid(claimReasons[error.claim] ?? 'claims', { cause: error })
  }
  if (error instanceof errors.JWSSignatureVerificationFailed || error instanceof errors.JOSEAlgNotAllowed) {
    return new TokenInvalid('signature', { cause: error })
  }
  if (error instanceof errors.JOSEError) return new TokenInvalid('malformed', { cause: error })
  return new VerifierUnavailable('an access token could not be verified', { cause: error })
}

const claimReasons: Readonly<Record<string, 'not_yet_valid' | 'audience' | 'unknown_issuer'>> = {
  nbf: 'not_yet_valid',
  aud: 'audience',
  iss: 'unknown_issuer',
}

/** `typ` is a media type whose `application/` may be left out, in any case. @see RFC 7515 §4.1.9 */
const mediaType = (type: string): string => type.toLowerCase().replace(/^application\//, '')

const asymmetric = ['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'EdDSA', 'Ed25519']

const minute = 60_000
/** Milliseconds. */
const fetchTimeout = 5_000
