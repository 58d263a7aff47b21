import type { Actor } from './actor.ts'
import { deepFreeze, type JsonObject } from './json.ts'
import type { UpstreamTarget } from './upstream-target.ts'

/** The claims that a handler gets wherever the provider gave them; a provider's schema may promise more. */
export interface UpstreamClaims {
  readonly name?: string
  readonly preferred_username?: string
  readonly email?: string
  readonly email_verified?: boolean
  readonly picture?: string
  readonly groups?: readonly string[]
  readonly roles?: readonly string[]
}

/** What a verified access token says, whoever verified it. Frozen, and JSON apart from its methods. */
export interface TokenFacts {
  /** The token as presented. Not enumerable, so that it is never logged, serialised or cloned by accident. */
  readonly token: string
  /** Who vouches for the subject; `subject` is unique only within it. */
  readonly issuer: string
  readonly subject: string
  /** The OAuth client, always: never the user, and never the client that we are at an upstream provider. */
  readonly clientId: string
  /** Who acts for the subject, the whole chain. @see RFC 8693 §4.1 */
  readonly actor?: Actor
  readonly scopes: readonly string[]
  /** The audience that matched: the resource that this token was presented to. @see RFC 8707 */
  readonly resource: string
  /** Seconds since the epoch. */
  readonly expiresAt: number
  /** All that the verifier returned (a JWT's payload, a whole introspection response): as verified as the verifier made it, and no more. */
  readonly claims: JsonObject
}

/** A person's token. Identity is (issuer, subject), see `principal`. */
export interface UserToken<Upstream = UpstreamClaims> extends TokenFacts {
  readonly kind: 'user'
  readonly upstream?: UpstreamIdentity<Upstream>
}

/** A client's own token: `subject` names the client itself. @see RFC 9068 §2.2 */
export interface ClientToken extends TokenFacts {
  readonly kind: 'client'
  /** Of a workload: what its platform says that it is. */
  readonly upstream?: UpstreamIdentity<JsonObject>
}

export type AccessToken<Upstream = UpstreamClaims> = UserToken<Upstream> | ClientToken

/** Who the person is at the provider where they signed in, or the workload at its platform. */
export interface UpstreamIdentity<Upstream = UpstreamClaims> {
  /** The provider's id in this server's configuration. */
  readonly provider: string
  readonly issuer: string
  readonly subject: string
  /** Everything that the provider said, and what its schema made of it. */
  readonly claims: Upstream & JsonObject
  /**
   * A provider's access token that is good now; refreshed when it must be.
   * @param target a token for another service at the provider, in exchange for the person's: where the provider's configuration has `onBehalfOf`
   * @throws UpstreamTokenUnavailable where there is none to have
   */
  accessToken(target?: UpstreamTarget): Promise<string>
  /** The same, with what the provider granted by it and how long it lives. Don't log it: it holds the token. @throws UpstreamTokenUnavailable */
  accessTokenDetails(target?: UpstreamTarget): Promise<UpstreamAccessToken>
}

/** A provider's access token. What the provider doesn't say is absent. */
export interface UpstreamAccessToken {
  readonly token: string
  /** What was granted at the provider. */
  readonly scopes?: readonly string[]
  /** Seconds since the epoch. */
  readonly expiresAt?: number
}

/** There is no upstream access token to have; `reason` says why, for the operator and for a handler's decision. */
export class UpstreamTokenUnavailable extends Error {
  override readonly name = 'UpstreamTokenUnavailable'
  /** `none`: this sign-in has no provider token; `ended`: the person must sign in there again; `down`: try again later; `refused`: the provider does not give the token that was asked for. */
  readonly reason: 'none' | 'ended' | 'down' | 'refused'
  constructor(reason: 'none' | 'ended' | 'down' | 'refused', options?: ErrorOptions) {
    super(upstreamTokenMessages[reason], options)
    this.reason = reason
  }
}

const upstreamTokenMessages = {
  none: 'this sign-in brought no token of the provider',
  ended: 'the session at the provider has ended: the person must sign in again',
  down: 'the provider cannot be reached: try again later',
  refused: 'the provider does not give this token for this person',
}

/** What a verifier found out; `createAccessToken` makes the handler's token of it. */
export interface AccessTokenFacts extends Omit<TokenFacts, 'actor'> {
  readonly kind: 'user' | 'client'
  readonly actor?: Actor | undefined
  readonly upstream?: UpstreamFacts | undefined
}

export interface UpstreamFacts {
  readonly provider: string
  readonly issuer: string
  readonly subject: string
  readonly claims: JsonObject
  /** Where `accessToken()` gets a token from; without it there is none to have. */
  readonly accessToken?: ((target?: UpstreamTarget) => Promise<string>) | undefined
  /** The same, with what is known of it. Without it nothing is. */
  readonly accessTokenDetails?: ((target?: UpstreamTarget) => Promise<UpstreamAccessToken>) | undefined
}

/** Makes the one frozen object that a handler sees. The facts are taken over, not copied: don't keep them for other use. */
export const createAccessToken = (facts: AccessTokenFacts): AccessToken => new VerifiedToken(facts) as AccessToken

class VerifiedToken {
  declare readonly token: string
  readonly kind: 'user' | 'client'
  readonly issuer: string
  readonly subject: string
  readonly clientId: string
  declare readonly actor?: Actor
  readonly scopes: readonly string[]
  readonly resource: string
  readonly expiresAt: number
  readonly claims: JsonObject
  declare readonly upstream?: VerifiedUpstream

  constructor(facts: AccessTokenFacts) {
    Object.defineProperty(this, 'token', { value: facts.token, enumerable: false })
    this.kind = facts.kind
    this.issuer = facts.issuer
    this.subject = facts.subject
    this.clientId = facts.clientId
    if (facts.actor) this.actor = facts.actor
    this.scopes = facts.scopes
    this.resource = facts.resource
    this.expiresAt = facts.expiresAt
    this.claims = facts.claims
    if (facts.upstream) this.upstream = new VerifiedUpstream(facts.upstream)
    deepFreeze(this)
  }
}

class VerifiedUpstream {
  readonly #accessToken: UpstreamFacts['accessToken']
  readonly #accessTokenDetails: UpstreamFacts['accessTokenDetails']
  readonly provider: string
  readonly issuer: string
  readonly subject: string
  readonly claims: JsonObject

  constructor(facts: UpstreamFacts) {
    this.#accessToken = facts.accessToken
    this.#accessTokenDetails = facts.accessTokenDetails
    this.provider = facts.provider
    this.issuer = facts.issuer
    this.subject = facts.subject
    this.claims = facts.claims
  }

  async accessToken(target?: UpstreamTarget): Promise<string> {
    if (!this.#accessToken) throw new UpstreamTokenUnavailable('none')
    return this.#accessToken(target)
  }

  async accessTokenDetails(target?: UpstreamTarget): Promise<UpstreamAccessToken> {
    return this.#accessTokenDetails ? this.#accessTokenDetails(target) : { token: await this.accessToken(target) }
  }
}
