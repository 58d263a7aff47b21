import { compactVerify, createRemoteJWKSet, customFetch, type FetchImplementation, type JWTVerifyGetKey } from 'jose'
import type { ClientAuth, Configuration, ServerMetadata } from 'openid-client'
import type { Clock } from '../events/clock.ts'
import { boundedFetch, requestTimeout } from './bounded-fetch.ts'
import type { AuthenticateClient } from './client-credential.ts'
import type { UpstreamContext } from './context.ts'
import { describe, unavailable } from './openid-errors.ts'
import { ProviderUnavailable } from './provider.ts'
import { refreshedValue } from './refreshed-value.ts'
import { type ErrorCodes, withStandardErrors } from './standard-answer.ts'

export type Library = typeof import('openid-client')

/** A provider as it describes itself, and we as its client. */
export interface OpenidServer {
  readonly library: Library
  readonly configuration: Configuration
  readonly metadata: ServerMetadata
  /** Checks an id_token's signature by the provider's published keys. @throws JOSEError and what a fetch throws */
  readonly verifySignature: (idToken: string) => Promise<void>
  /** What the userinfo endpoint says of this person; where it is signed, by the published keys. @throws as `verifySignature` */
  readonly fetchUserinfo: (accessToken: string, subject: string) => Promise<object>
}

export interface OpenidClient {
  readonly issuer: URL
  readonly clientId: string
  readonly authenticate: AuthenticateClient
  /** What the metadata must name as issuer, where it stands for many: `{tenantid}` is an id_token's `tid`. */
  readonly issuerTemplate: string | undefined
  /** Where the metadata are, and what they may name as issuer, where that is another one. */
  readonly discovery: { readonly address: string; readonly names: readonly string[] } | undefined
  /** Of a provider whose errors come with status 200. */
  readonly errors: ErrorCodes | undefined
}

const metadataFreshFor = 3_600_000
const discoveryRetryAfter = 3_000
// Unknown key ids mean that the provider has just changed its keys, or come in what strangers say is its logout: of that there is little.
const keysCooldown = 2_000
// After keys could not be had nobody asks again so long: who sends tokens, without having to prove anything, must not make us.
const keysRetryAfter = 3_000

/** The server behind an issuer: discovered when it is first needed, never at start, and again every hour. @throws ProviderUnavailable */
export const openidServer = (
  client: OpenidClient,
  { clock, fetch, logger }: Pick<UpstreamContext, 'clock' | 'fetch' | 'logger'>,
): (() => Promise<OpenidServer>) => {
  const plain = boundedFetch(fetch)
  const bounded = client.errors ? withStandardErrors(plain, client.errors) : plain

  const load = async (): Promise<OpenidServer> => {
    const library = await import('openid-client')
    try {
      const address = addressOf(client)
      const insecure = address.protocol === 'http:' ? [library.allowInsecureRequests] : []
      const options = {
        execute: insecure,
        timeout: requestTimeout / 1000,
        [library.customFetch]: (url: string, init: object) => bounded(url, init),
      }
      // How we authenticate depends on what the metadata allow, which are known when it is first done.
      const authenticate: ClientAuth = (as, me, body, headers) =>
        client.authenticate(library, as as ServerMetadata)(as, me, body, headers)
      const configuration = await library.discovery(address, client.clientId, {}, authenticate, options)
      const metadata: ReturnType<Configuration['serverMetadata']> = configuration.serverMetadata()
      checkIssuer(client, metadata)
      const verify = signatureVerifier(metadata, address, bounded, clock)
      const fetchUserinfo = async (accessToken: string, subject: string): Promise<object> => {
        // One for this request alone, so that what was answered to it can be seen.
        const { supportsPKCE: _helper, ...plain } = metadata
        const asking = new library.Configuration(plain, client.clientId, {}, authenticate)
        let signed: string | undefined
        asking.timeout = options.timeout
        asking[library.customFetch] = async (url, init) => {
          const answer = await bounded(url, init as RequestInit)
          if (/^application\/jwt\b/i.test(answer.headers.get('content-type') ?? ''))
            signed = await answer.clone().text()
          return answer
        }
        for (const allow of insecure) allow(asking)
        const said = await library.fetchUserInfo(asking, accessToken, subject)
        if (signed !== undefined) await verify(signed, metadata.userinfo_signing_alg_values_supported)
        return said
      }
      return { library, configuration, metadata, verifySignature: (token) => verify(token), fetchUserinfo }
    } catch (error) {
      logger.warn('discovery of an OpenID Provider failed', { issuer: client.issuer.href, reason: describe(error) })
      const failure = unavailable(error)
      // Whatever was to be asked of the provider was not.
      const { detail } = failure
      throw new ProviderUnavailable(failure.message, {
        ...(detail === undefined ? {} : { detail: `discovery: ${detail}` }),
        nothingDone: true,
      })
    }
  }
  return refreshedValue(load, { clock, freshFor: metadataFreshFor, retryAfter: discoveryRetryAfter })
}

const addressOf = ({ issuer, discovery }: OpenidClient): URL =>
  discovery ? new URL(`${discovery.address}/.well-known/openid-configuration`) : issuer

/**
 * A metadata document for many issuers is accepted only where that was asked for, and only with the very template: its reader then believes
 * whatever issuer the template makes of an id_token.
 */
const checkIssuer = ({ issuerTemplate, discovery }: OpenidClient, { issuer }: ServerMetadata): void => {
  if (discovery ? discovery.names.includes(issuer) : issuer === issuerTemplate) return
  if (discovery || issuerTemplate !== undefined || /[{}]|%7B/i.test(issuer)) {
    throw new ProviderUnavailable('the provider’s metadata are not those of the configured issuer', { detail: issuer })
  }
}

/**
 * The library leaves out the signature of a token that came straight from the token endpoint, as OpenID Connect Core §3.1.3.7 allows. It is
 * checked here: a proxy or a name server between us would otherwise be believed. Symmetric algorithms and `none` are never accepted.
 */
const signatureVerifier = (
  metadata: ServerMetadata,
  { protocol }: URL,
  bounded: ReturnType<typeof boundedFetch>,
  clock: Clock,
) => {
  const { jwks_uri: uri } = metadata
  if (uri === undefined) throw new ProviderUnavailable('the provider publishes no keys')
  // The library checks what it fetches itself. Keys that came over plain http would be anybody's.
  if (!URL.canParse(uri) || ![protocol, 'https:'].includes(new URL(uri).protocol)) {
    throw new ProviderUnavailable('the provider’s metadata name keys that are not fetched by https', {
      detail: uri.slice(0, 300),
    })
  }
  const keys = createRemoteJWKSet(new URL(uri), {
    [customFetch]: sparing((url, init) => bounded(url, init), clock),
    timeoutDuration: requestTimeout,
    cooldownDuration: keysCooldown,
  }) as JWTVerifyGetKey
  return async (
    token: string,
    supported: readonly string[] | undefined = metadata.id_token_signing_alg_values_supported,
  ): Promise<void> => {
    const algorithms = (supported ?? ['RS256']).filter((each) => each !== 'none' && !each.startsWith('HS'))
    try {
      await compactVerify(token, keys, { algorithms })
    } catch (error) {
      const candidates = severalKeys(error)
      if (!candidates) throw error
      // Keys without ids: any of them may have signed.
      for await (const key of candidates) {
        const verified = await compactVerify(token, key, { algorithms }).then(
          () => true,
          () => false,
        )
        if (verified) return
      }
      throw error
    }
  }
}

/** Known keys are used all the while. */
const sparing = (ask: FetchImplementation, clock: Clock): FetchImplementation => {
  let failedAt = Number.NEGATIVE_INFINITY
  return async (url, init) => {
    const since = clock.now() - failedAt
    if (since >= 0 && since < keysRetryAfter)
      throw new ProviderUnavailable('the provider’s keys were out of reach just now')
    try {
      const answer = await ask(url, init)
      if (answer.status !== 200) failedAt = clock.now()
      return answer
    } catch (error) {
      failedAt = clock.now()
      throw error
    }
  }
}

const severalKeys = (error: unknown): AsyncIterable<CryptoKey> | undefined =>
  error instanceof Error && 'code' in error && error.code === 'ERR_JWKS_MULTIPLE_MATCHING_KEYS'
    ? (error as unknown as AsyncIterable<CryptoKey>)
    : undefined
