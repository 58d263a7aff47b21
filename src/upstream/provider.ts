import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { UpstreamClaims } from '../identity/access-token.ts'
import type { JsonObject } from '../identity/json.ts'
import type { UpstreamTarget } from '../identity/upstream-target.ts'
import type { AuthTimeAssumed } from '../policy/sign-in.ts'
import type { Statement, UpstreamTokens } from '../records/upstream-session.ts'
import type { Admit } from './admission.ts'
import type { UpstreamContext } from './context.ts'
import type { Revalidation } from './revalidation.ts'

/** Checks and types what a provider says; nothing is dropped by it. */
export type ClaimsSchema<Claims> = StandardSchemaV1<unknown, Claims>

/** Somewhere that people sign in. What it needs of the server it gets by `open`. */
export interface Provider<Claims = UpstreamClaims> {
  /** A short name, unique in the server: in URLs, in the audit log, and `upstream.provider` for handlers. Lower case, digits, hyphens. */
  readonly id: string
  /** What people read: "Sign in with …". */
  readonly name: string
  readonly claims?: ClaimsSchema<Claims>
  /**
   * Claims in standard names, made of what the provider said in names of its own. They are added each time that the claims are read, before
   * the schema sees them; what was said is kept as it was. Pure, and it never throws.
   */
  readonly derive?: (said: JsonObject) => JsonObject
  /** What is made of a person, when the schema is satisfied. */
  admit?(...claims: Parameters<Admit<Claims>>): ReturnType<Admit<Claims>>
  /** When the provider is asked again whether a person may go on. Absent: never. */
  readonly revalidation?: Revalidation
  /** What ends when the person signs out there. */
  readonly logoutEnds?: LogoutEnds
  /** Called once, at start. It may not do network requests: a provider that is down must not keep the server from starting. */
  open(context: UpstreamContext): OpenProvider
}

/** Somebody whose word is taken: a provider in use, or an issuer of assertions, to which nobody is sent to sign in. */
export interface Voucher {
  readonly id: string
  readonly claims?: ClaimsSchema<unknown>
  readonly derive?: (said: JsonObject) => JsonObject
  readonly admit?: Admit<unknown>
  readonly revalidation?: Revalidation
  readonly logoutEnds?: LogoutEnds
  readonly open?: OpenProvider
}

/** A provider in use. */
export interface NamedProvider extends Voucher {
  readonly name: string
  readonly open: OpenProvider
}

export type OpenProvider = RedirectProvider | PasswordProvider | HostProvider

/** The browser is sent to the provider and comes back to `redirectUri`. */
export interface RedirectProvider {
  readonly kind: 'redirect'
  /**
   * False where the provider can't be made to sign a person in again, and so says nothing of when they did. `unstated`: it can, and says nothing of
   * when. Absent: it can, and says when.
   */
  readonly reauthenticates?: false | 'unstated'
  /** The provider posts its answer. */
  readonly postsAnswer?: boolean
  /** @throws ProviderUnavailable */
  begin(request: BeginRequest): Promise<{ readonly url: string; readonly pending: JsonObject }>
  /**
   * @param callback the URL that the browser came back to, its parameters untouched
   * @throws SignInRefused what the provider said was not acceptable, or it refused
   * @throws ProviderUnavailable
   */
  complete(callback: URL, pending: JsonObject, redirectUri: string): Promise<SignIn>
  /** New tokens for old. @throws UpstreamRefused the session has ended there; ProviderUnavailable for all else */
  refresh?(current: Renewable): Promise<Renewal>
  /**
   * Asks with an access token that is still good whether the person may go on; answers what the provider says anew. For sessions without a
   * refresh token. @throws UpstreamRefused the provider no longer takes the token; ProviderUnavailable for all else
   */
  validate?(current: Renewable): Promise<readonly Statement[]>
  /**
   * A token for another service, in exchange for the person's. Present where the configuration says how.
   * @throws UpstreamRefused the provider does not give it; ProviderUnavailable for all else
   */
  exchange?(current: Renewable, target: UpstreamTarget): Promise<ExchangedToken>
  /**
   * What a logout token of the provider's says. Present where it can send some.
   * @throws SignInRefused with reason `untrusted`, LogoutNotForUs among them; ProviderUnavailable where its keys can't be had
   */
  readLogout?(token: string): Promise<LogoutToken>
  /**
   * Ends the tokens at the provider; `unsupported` where it has no way to. Present only where that ends no other session of the person.
   * @throws ProviderUnavailable
   */
  revoke?(tokens: UpstreamTokens): Promise<'revoked' | 'unsupported'>
}

export interface BeginRequest {
  readonly redirectUri: string
  /** To be returned as `state`. */
  readonly state: string
  readonly loginHint?: string
  /** The person must prove again who they are. */
  readonly reauthenticate: boolean
  /** The person wants to choose another account. */
  readonly selectAccount: boolean
  /** Seconds. */
  readonly maxAge?: number
}

/** A name and a password on our own page. */
export interface PasswordProvider {
  readonly kind: 'password'
  /** @throws SignInRefused with reason `credentials` or `rate_limited` (and then `retryAfter`) */
  signIn(username: string, password: string, from: { readonly address?: string }): Promise<SignIn>
}

/** The host knows already who is signed in, from the request's own cookies. */
export interface HostProvider {
  readonly kind: 'host'
  /** Who the host says is signed in, or a response (of the host's own) that signs in and returns to `returnTo`. */
  identify(
    request: Request,
    options: { readonly returnTo: string; readonly reauthenticate: boolean },
  ): Promise<SignIn | Response>
}

/** Who signed in, and what was said of them. */
export interface SignIn {
  readonly issuer: string
  readonly subject: string
  /** When the person authenticated, seconds since the epoch. */
  readonly authTime: number
  /** The provider did not say when: `authTime` is when its answer came, and the person may have signed in there long before. */
  readonly authTimeAssumed?: AuthTimeAssumed
  readonly said: readonly Statement[]
  readonly tokens?: UpstreamTokens
}

/** What is renewed: whatever comes must be about the same person. */
export interface Renewable {
  readonly issuer: string
  readonly subject: string
  readonly tokens: UpstreamTokens
}

export interface ExchangedToken {
  readonly token: string
  /** Seconds; absent where the provider doesn't say. */
  readonly expiresIn?: number
}

export interface Renewal {
  readonly tokens: UpstreamTokens
  /** What the provider said anew; the statements of the same source are replaced. */
  readonly said: readonly Statement[]
}

/** What a provider says with a logout: this session there, or this person, has signed out. @see OpenID Connect Back-Channel Logout 1.0 §2.4 */
export interface LogoutToken {
  readonly issuer: string
  readonly sub?: string
  readonly sid?: string
  /** Seconds, by the provider's clock. */
  readonly issuedAt: number
  readonly expiresAt: number
  readonly jti: string
}

/**
 * What ends when somebody signs out at the provider. `sessions`: only our own browser sessions, and what is under way; `grants`: also all that
 * clients have by that sign-in. By default grants end too, unless the provider gave a token for offline access, which outlives its session there.
 */
export type LogoutEnds = 'sessions' | 'grants'

/** A sign-in that must not become an identity. `reason` is for the audit log; the page has words of its own for each. */
export class SignInRefused extends Error {
  override readonly name = 'SignInRefused'
  readonly reason: SignInRefusal
  /** For the audit log: what exactly was wrong. No secret, and not for the wire. */
  readonly detail: string | undefined
  /** Seconds. */
  readonly retryAfter: number | undefined
  constructor(reason: SignInRefusal, options: { detail?: string; retryAfter?: number; cause?: unknown } = {}) {
    super(`sign-in refused: ${reason}`, options.cause === undefined ? {} : { cause: options.cause })
    this.reason = reason
    this.detail = options.detail
    this.retryAfter = options.retryAfter
  }
}

/**
 * A logout token that does not even say that it is for us: refused before anything is computed, or asked of anybody. A provider of many sends those of
 * its other customers from the same addresses as ours.
 */
export class LogoutNotForUs extends SignInRefused {
  constructor(detail: string) {
    super('untrusted', { detail })
  }
}

export type SignInRefusal =
  /** Wrong name or password. */
  | 'credentials'
  | 'rate_limited'
  /** The person said no at the provider, or it said no to the person. */
  | 'denied'
  /** `iss`, `nonce`, `state`, signature, `aud`: an answer that is not for us, or not from it. */
  | 'untrusted'
  /** The claims don't satisfy the schema; `detail` names which. */
  | 'claims'
  /** The server's own rule does not let this person in; `detail` is what they read. */
  | 'not_admitted'
  /** The provider can do it only with the person's help, and was told not to ask. */
  | 'interaction_required'

/**
 * The provider is out of reach, slow, or wrongly configured. Says nothing about a person. The message is ours; what the provider said is in
 * `detail`, bounded and made printable, for the audit log.
 */
export class ProviderUnavailable extends Error {
  override readonly name = 'ProviderUnavailable'
  readonly detail: string | undefined
  /** Whether the provider surely did nothing of what it was asked. False where the answer was lost, and so for all that is not known. */
  readonly nothingDone: boolean
  constructor(message: string, options: { detail?: string; nothingDone?: boolean; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.detail = options.detail
    this.nothingDone = options.nothingDone ?? false
  }
}

/** The provider says that this session of the person is over (`invalid_grant`). */
export class UpstreamRefused extends Error {
  override readonly name = 'UpstreamRefused'
}
