import { systemClock } from '../events/clock.ts'
import { silentLogger } from '../events/logger.ts'
import { type AccessToken, createAccessToken, type UpstreamClaims } from '../identity/access-token.ts'
import { boundKeyOf, checkBoundKey } from '../identity/confirmation.ts'
import type { JsonObject } from '../identity/json.ts'
import { createTokenMemory } from '../identity/token-memory.ts'
import { TokenInvalid, VerifierUnavailable } from '../identity/verifier.ts'
import { ConfigurationError } from '../oauth/configuration-error.ts'
import { signedIntrospectionMediaType } from '../oauth/introspection.ts'
import { sameResource } from '../oauth/resource.ts'
import { createClientProof, type ResourceClient } from './client-proof.ts'
import { checkSecureUrl, discoverUrl, fetchJson, fetchText } from './discovery.ts'
import type { IssuerVerifier } from './issuer.ts'
import { readJwtFacts } from './jwt-facts.ts'
import type { RemoteIssuerOptions } from './remote-issuer.ts'
import { createSignedAnswers } from './signed-answer.ts'
import { applyUpstreamSchema } from './upstream-schema.ts'

export interface IntrospectionOptions<Upstream> extends RemoteIssuerOptions<Upstream>, ResourceClient {
  /** Takes only answers that the issuer signed for this client, which can't be made up on the way and can be kept as evidence. @see RFC 9701 */
  readonly signed?: boolean
  /** By default the issuer's metadata says it. */
  readonly endpoint?: string
  /**
   * Which tokens are the issuer's, where it stands beside others and its tokens are opaque: no other one is sent to it. By default JWTs that name
   * it in their `iss`; alone it is asked about all.
   */
  readonly recognises?: (token: string) => boolean
  /** Seconds that an answer is used again: a token that was revoked is good for so long. 0 to 300; default 5. */
  readonly rememberedFor?: number
}

/**
 * Verifies access tokens by asking their issuer, so that revocation is seen and tokens may be opaque. The whole answer is in the token's `claims`;
 * it is as verified as the connection to the issuer is, or as its signature.
 * @param issuer byte for byte as its metadata has it
 * @throws ConfigurationError for options that can't be right
 * @see RFC 7662
 */
export const introspection = <Upstream = UpstreamClaims>(
  issuer: string,
  options: IntrospectionOptions<Upstream>,
): IssuerVerifier<Upstream> => {
  const { clock = systemClock, logger = silentLogger, clockSkew = 30, rememberedFor = 5 } = options
  const fetch = options.fetch ?? ((url, init) => globalThis.fetch(url, init))
  checkSecureUrl(issuer, 'issuer')
  if (options.endpoint !== undefined) checkSecureUrl(options.endpoint, 'endpoint')
  if (!(clockSkew >= 0 && clockSkew <= 300)) throw new ConfigurationError('clockSkew', '0 to 300 seconds')
  if (!(rememberedFor >= 0 && rememberedFor <= 300)) throw new ConfigurationError('rememberedFor', '0 to 300 seconds')
  const proof = createClientProof(options, issuer, clock)
  const memory = createTokenMemory(options.remembered === undefined ? {} : { capacity: options.remembered })
  const askedAt = new WeakMap<AccessToken, number>()
  const underWay = new Map<string, Promise<AccessToken>>()
  let endpoint = options.endpoint

  const endpointOf = async (signal: AbortSignal): Promise<string> => {
    endpoint ??= (await discoverUrl(issuer, 'introspection_endpoint', fetch, signal)).url
    return endpoint
  }
  const jwksUri = async (signal: AbortSignal) => (await discoverUrl(issuer, 'jwks_uri', fetch, signal)).url
  const { clientId, signed = false } = options
  const readSigned = createSignedAnswers({ issuer, clientId, jwksUri, fetch, clock, logger, clockSkew })

  const ask = async (token: string): Promise<JsonObject> => {
    const signal = AbortSignal.timeout(fetchTimeout)
    try {
      const url = await endpointOf(signal)
      const { headers, parameters } = await proof()
      const body = new URLSearchParams({ token, token_type_hint: 'access_token', ...parameters }).toString()
      const accept = { Accept: signed ? signedIntrospectionMediaType : 'application/json' }
      const request = { method: 'POST', headers: { ...headers, ...form, ...accept }, body } as const
      if (!signed) return (await fetchJson(url, fetch, signal, request)) as JsonObject
      const { text, type } = await fetchText(url, fetch, signal, request)
      if (type !== signedIntrospectionMediaType) throw new Error(`${url} answered ${type}: its answers are not signed`)
      return await readSigned(text)
    } catch (error) {
      // A refusal of our own credentials says nothing about the token.
      logger.error(`the introspection endpoint of ${issuer} gave no answer`, { error })
      throw new VerifierUnavailable('an access token could not be introspected', { cause: error })
    }
  }

  const isFor = (audience: unknown, resource: string): boolean =>
    [audience ?? []]
      .flat()
      .some((each) => typeof each === 'string' && (sameResource(each, resource) || options.audiences?.includes(each)))

  const check = (answer: JsonObject, resource: string): void => {
    const { active, iss, aud, exp, nbf, token_type: type } = answer
    const now = clock.now() / 1000
    if (active !== true) throw new TokenInvalid('revoked')
    if (iss !== undefined && iss !== issuer) throw new TokenInvalid('unknown_issuer')
    // Else a refresh token, which is active too, would open what only an access token may.
    if (type !== undefined && !(typeof type === 'string' && accessTokenTypes.has(type.toLowerCase()))) {
      throw new TokenInvalid('type')
    }
    // Said to be bound, and not to what: then no proof would do.
    if (String(type).toLowerCase() === 'dpop' && boundKeyOf(answer) === undefined) throw new TokenInvalid('binding')
    if (typeof exp !== 'number') throw new TokenInvalid('claims')
    if (exp + clockSkew <= now) throw new TokenInvalid('expired')
    if (nbf !== undefined && !(typeof nbf === 'number' && nbf - clockSkew <= now)) {
      throw new TokenInvalid('not_yet_valid')
    }
    if (!isFor(aud, resource)) throw new TokenInvalid('audience')
  }

  const verifyAnew = async (token: string, resource: string): Promise<AccessToken> => {
    const startedAt = clock.now()
    const epoch = memory.epoch()
    const answer = await ask(token)
    check(answer, resource)
    // Who answered is who vouches, also where it doesn't say so.
    const said = { ...answer, iss: issuer }
    const facts = { ...readJwtFacts(token, said, resource, 'client_id', options.isClient), claims: answer }
    const accessToken = createAccessToken(await applyUpstreamSchema(facts, options.claims))
    askedAt.set(accessToken, startedAt)
    if (rememberedFor > 0) memory.remember(accessToken, epoch)
    return accessToken
  }

  const recall = (token: string, resource: string): AccessToken | undefined => {
    const now = clock.now()
    const known = memory.recall(token, resource, now)
    const age = known && now - (askedAt.get(known) ?? 0)
    return age !== undefined && age >= 0 && age < rememberedFor * 1000 ? known : undefined
  }

  const verifyOnce = (token: string, resource: string): Promise<AccessToken> => {
    const key = `${token} ${resource}`
    const asking = underWay.get(key) ?? verifyAnew(token, resource).finally(() => underWay.delete(key))
    underWay.set(key, asking)
    return asking
  }

  return {
    issuer,
    ...(options.recognises && { recognises: options.recognises }),

    async ready() {
      await endpointOf(AbortSignal.timeout(fetchTimeout))
    },

    async verify(token, resource, jkt) {
      if (token.length > maximumToken) throw new TokenInvalid('malformed')
      const known = recall(token, resource) ?? (await verifyOnce(token, resource))
      checkBoundKey(known.claims, jkt)
      return known as AccessToken<Upstream>
    },

    recall: (token, resource) => recall(token, resource) as AccessToken<Upstream> | undefined,
  }
}

const form = { 'Content-Type': 'application/x-www-form-urlencoded' }
const accessTokenTypes: ReadonlySet<string> = new Set(['bearer', 'dpop', 'access_token'])
const maximumToken = 16_384
/** Milliseconds. */
const fetchTimeout = 5_000
