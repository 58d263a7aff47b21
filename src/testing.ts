import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose'
import {
  type AccessToken,
  type AccessTokenFacts,
  type ClientToken,
  createAccessToken,
  type UpstreamClaims,
  type UpstreamFacts,
  type UserToken,
} from './identity/access-token.ts'
import { checkBoundKey } from './identity/confirmation.ts'
import type { TokenSource } from './identity/context.ts'
import type { JsonObject } from './identity/json.ts'
import { TokenInvalid, VerifierUnavailable } from './identity/verifier.ts'
import { sameResource } from './oauth/resource.ts'
import { adopt, type Protection } from './protection.ts'
import type { IssuerVerifier } from './resource-server/issuer.ts'

export { withAccessToken } from './identity/context.ts'

/** Whatever a test wants to say about a caller; everything else gets a value that is fit to be seen. */
export interface MintedFacts<Upstream = UpstreamClaims>
  extends Partial<Omit<AccessTokenFacts, 'upstream' | 'token' | 'kind'>> {
  readonly upstream?: Partial<Omit<UpstreamFacts, 'claims'>> & { readonly claims?: Upstream }
  /** Thumbprint of the key that the token is bound to, see `dpopKey`. */
  readonly jkt?: string
}

/**
 * Mints an access token: `accessToken({ subject: 'alice', scopes: ['notes:read'] })`. A person's, unless `subject` is `clientId`.
 * @param source what should vouch for it, so that `requireUser(source)` takes it inside `withAccessToken`
 */
export function accessToken<Upstream = UpstreamClaims>(
  facts: MintedFacts<Upstream> & { readonly clientId: string; readonly subject: string },
  source?: TokenSource<Upstream>,
): AccessToken<Upstream>
export function accessToken<Upstream = UpstreamClaims>(
  facts?: MintedFacts<Upstream>,
  source?: TokenSource<Upstream>,
): UserToken<Upstream>
export function accessToken<Upstream>(
  facts: MintedFacts<Upstream> = {},
  source?: TokenSource<Upstream>,
): AccessToken<Upstream> {
  const token = mint(facts)
  if (source) (source as Partial<Protection<Upstream>>)[adopt]?.(token)
  return token as AccessToken<Upstream>
}

/** Mints a client's own token, which has no person behind it. */
export const clientToken = (facts: Omit<MintedFacts, 'upstream' | 'subject'> = {}): ClientToken => {
  const clientId = facts.clientId ?? 'test-client'
  return mint({ ...facts, clientId, subject: clientId }) as ClientToken
}

/** A client's key, to which tokens can be bound. */
export interface DpopKey {
  /** Its thumbprint: `issuer.accessToken({ jkt })`. */
  readonly jkt: string
  /** The headers of one request with a token that is bound to the key. @param claims of the proof, over the usual ones */
  headers(
    token: AccessToken<unknown>,
    request: { readonly method: string; readonly url: string },
    claims?: JsonObject,
  ): Promise<{ readonly Authorization: string; readonly DPoP: string }>
}

/** @see RFC 9449 §4.2 */
export const dpopKey = async (): Promise<DpopKey> => {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const jwk = await exportJWK(publicKey)
  return {
    jkt: await calculateJwkThumbprint(jwk),
    async headers({ token }, { method, url }, claims = {}) {
      const { origin, pathname } = new URL(url)
      const ath = createHash('sha256').update(token).digest('base64url')
      const payload = {
        jti: randomUUID(),
        htm: method,
        htu: origin + pathname,
        iat: Math.floor(Date.now() / 1000),
        ath,
      }
      const proof = await new SignJWT({ ...payload, ...claims })
        .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk })
        .sign(privateKey)
      return { Authorization: `DPoP ${token}`, DPoP: proof }
    },
  }
}

/** What a refused client is told, as clients read it. */
export interface ReadChallenge {
  /** 401: no good token; 403: more scopes are needed; 400: no bearer request at all. */
  readonly status: number
  readonly scheme: string
  readonly error: string | undefined
  readonly description: string | undefined
  /** All that the client should ask for now. */
  readonly scopes: readonly string[]
  /** Where the resource's metadata is. */
  readonly metadataUrl: string | undefined
}

/**
 * Reads the challenge of a response, for assertions: `expect(challengeOf(response)).toMatchObject({ error: 'insufficient_scope', scopes: [...] })`.
 * Undefined where there is none, as for trouble of the server's own, or where no scope would help.
 */
export const challengeOf = (response: Response): ReadChallenge | undefined => {
  const header = response.headers.get('www-authenticate')
  if (header === null) return undefined
  const field = (name: string) => new RegExp(`(?:^|[ ,])${name}="([^"]*)"`).exec(header)?.[1]
  return {
    status: response.status,
    scheme: header.split(' ', 1)[0] ?? '',
    error: field('error'),
    description: field('error_description'),
    scopes: (field('scope') ?? '').split(' ').filter((scope) => scope !== ''),
    metadataUrl: field('resource_metadata'),
  }
}

/** An issuer without network, for `resourceServer({ issuers: [testIssuer()] })`: takes the tokens that it minted, and no other. */
export interface TestIssuer<Upstream = UpstreamClaims> extends IssuerVerifier<Upstream> {
  /** Mints a token that is good at the gate; send its `token` as the bearer token. */
  accessToken(facts?: MintedFacts<Upstream>): AccessToken<Upstream>
  /** Ends a token: from now on it is invalid. */
  revoke(token: AccessToken<Upstream>): void
  /** From now on the issuer can't be reached, or again can. */
  setAvailable(available: boolean): void
}

/** @param issuer what its tokens name as their issuer */
export const testIssuer = <Upstream = UpstreamClaims>(issuer = testIssuerUrl): TestIssuer<Upstream> => {
  const minted = new Map<string, AccessToken<Upstream>>()
  let available = true
  return {
    issuer,

    accessToken(facts = {}) {
      const token = mint({ ...facts, issuer }) as AccessToken<Upstream>
      minted.set(token.token, token)
      return token
    },

    recognises: (token) => minted.has(token),

    revoke: (token) => void minted.delete(token.token),

    setAvailable(value) {
      available = value
    },

    async verify(presented, resource, jkt) {
      if (!available) throw new VerifierUnavailable('the test issuer was made unavailable')
      const token = minted.get(presented)
      if (!token) throw new TokenInvalid('revoked')
      if (token.expiresAt * 1000 <= Date.now()) throw new TokenInvalid('expired')
      if (token.resource !== anyResource && !sameResource(token.resource, resource)) throw new TokenInvalid('audience')
      checkBoundKey(token.claims, jkt)
      if (token.resource === resource) return token
      // Minted without a resource: it is good for the first one that it is presented to.
      const bound = createAccessToken({ ...factsOf(token), resource }) as AccessToken<Upstream>
      minted.set(presented, bound)
      return bound
    },
  }
}

const mint = (facts: MintedFacts<unknown>): AccessToken => {
  const { upstream, ...rest } = facts as MintedFacts
  const issuer = rest.issuer ?? testIssuerUrl
  const clientId = rest.clientId ?? 'test-client'
  const subject = rest.subject ?? 'test-user'
  const scopes = rest.scopes ?? []
  const expiresAt = rest.expiresAt ?? Math.floor(Date.now() / 1000) + 3600
  const resource = rest.resource ?? anyResource
  const claims = { iss: issuer, sub: subject, client_id: clientId, scope: scopes.join(' '), exp: expiresAt }
  return createAccessToken({
    token: `cs_test_${randomBytes(24).toString('base64url')}`,
    kind: subject === clientId ? 'client' : 'user',
    issuer,
    subject,
    clientId,
    actor: rest.actor,
    scopes: [...scopes],
    resource,
    expiresAt,
    claims: { ...claims, ...(rest.jkt === undefined ? {} : { cnf: { jkt: rest.jkt } }), ...rest.claims },
    upstream: upstream && mintUpstream(upstream),
  })
}

const mintUpstream = (facts: NonNullable<MintedFacts['upstream']>): UpstreamFacts => {
  const provider = facts.provider ?? 'test'
  const issuer = facts.issuer ?? 'https://provider.test'
  const subject = facts.subject ?? 'upstream-test-user'
  const claims: JsonObject = { iss: issuer, sub: subject, ...facts.claims }
  const { accessToken, accessTokenDetails } = facts
  return { provider, issuer, subject, claims, accessToken, accessTokenDetails }
}

const factsOf = (token: AccessToken<unknown>): AccessTokenFacts => {
  const { kind, issuer, subject, clientId, actor, scopes, expiresAt, claims, resource } = token
  const upstream = token.kind === 'user' ? token.upstream : undefined
  return {
    ...{ token: token.token, kind, issuer, subject, clientId, actor, scopes, expiresAt, claims, resource },
    upstream: upstream && {
      provider: upstream.provider,
      issuer: upstream.issuer,
      subject: upstream.subject,
      claims: upstream.claims as JsonObject,
      accessToken: (target) => upstream.accessToken(target),
      accessTokenDetails: (target) => upstream.accessTokenDetails(target),
    },
  }
}

const testIssuerUrl = 'https://issuer.test'
const anyResource = 'https://resource.test'
