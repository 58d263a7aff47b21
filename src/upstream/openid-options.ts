import type { UpstreamClaims } from '../identity/access-token.ts'
import type { JsonObject } from '../identity/json.ts'
import type { AdmissionOptions } from './admission.ts'
import type { BoundedFetch } from './bounded-fetch.ts'
import type { OnBehalfOf } from './on-behalf-of.ts'
import type { LogoutEnds } from './provider.ts'
import type { Reauthenticates } from './reauthentication.ts'
import type { RedirectOptions } from './redirect-options.ts'
import type { RevalidationOptions } from './revalidation.ts'
import type { ErrorCodes } from './standard-answer.ts'

/** What a preset takes as it is. */
export type PresetOptions<Claims> = RevalidationOptions &
  AdmissionOptions<Claims> &
  Pick<
    OpenidOptions<Claims>,
    'id' | 'name' | 'clientId' | 'scopes' | 'claims' | 'logoutEnds' | 'onBehalfOf' | 'reauthenticates'
  >

export interface OpenidOptions<Claims = UpstreamClaims> extends RedirectOptions<Claims> {
  /** Default: `openid`. */
  readonly id?: string
  /** Default: the issuer's host. */
  readonly name?: string
  /** The provider's issuer identifier, by which people are known; the rest is read from its discovery document. `https`, or `http` on loopback. */
  readonly issuer: string
  /**
   * Default: `openid`, `profile` and `email`. With `offline_access`, or what the provider has in its place, `upstream.accessToken()` goes on
   * working when the first token has expired.
   */
  readonly scopes?: readonly string[]
  /** Ask the userinfo endpoint too, at sign-in and at each refresh. Default: where the provider has one. */
  readonly userinfo?: boolean
  /**
   * Whether a session's tokens are revoked at the provider when it ends here. Must be false where that would end other sessions of the
   * person. Default: true.
   */
  readonly revokeTokens?: boolean
  /** The claim of the id_token that names the person for this provider's issuer. Default: `sub`. Changing it makes everybody somebody else. */
  readonly subject?: string
  /**
   * Whether the access token's own claims are kept too, below those of the id_token and userinfo: where it is a JWT that the provider's keys
   * verify, of the same issuer and subject. One that is not is left alone. Default: false.
   */
  readonly accessTokenClaims?: boolean
  /**
   * How the provider gives tokens for other services in exchange for a person's (`upstream.accessToken({ audience })`): `token_exchange` (RFC 8693),
   * or `jwt_bearer` (Entra's on-behalf-of). Default: it gives none.
   */
  readonly onBehalfOf?: OnBehalfOf
  /**
   * Whether the provider can be made to sign a person in again (`prompt=login`, `max_age=0`) and then says when that was (`auth_time`). Default: true.
   *
   * `unstated`: it can, and says nothing of when. Its answer to such a request then counts as a new sign-in for who has no better way, and a client's
   * `max_age` asks for one, however old the last is. Where the provider takes pushed authorization requests (RFC 9126), that request is pushed:
   * without, who sits at the browser can take out of the URL what asks for it.
   *
   * False: it can't. It is not asked to, a client's `prompt=login` or `max_age` is refused, and who has no better way to sign in may change those
   * without such a proof.
   */
  readonly reauthenticates?: Reauthenticates
  /** `form_post`: the provider posts its answer in place of sending it in a URL. For those that insist on it. */
  readonly responseMode?: 'form_post'
  /** What the answer itself says, in parameters beside `code`. The browser brought it, and nobody signed it: names at most. */
  readonly answerClaims?: (parameters: URLSearchParams) => JsonObject
  /**
   * What another interface of the provider's says of the person, asked with each new access token after an id_token came: its claims count last.
   * Where it fails, nobody signs in, and what it said before stays at a refresh.
   */
  readonly directory?: (idToken: JsonObject, accessToken: string, fetch: BoundedFetch) => Promise<JsonObject>
  /**
   * What ends when the provider says, by back-channel logout, that the person signed out there: our own browser sessions (`sessions`), or also
   * all that their clients have by that sign-in (`grants`). Default: `grants`, unless the provider gave a token for `offline_access`.
   * The address to register there is `<url>/authorize/logout/<id>`.
   */
  readonly logoutEnds?: LogoutEnds
  /**
   * For a provider whose errors come with status 200: its own codes at the token endpoint and at userinfo, and which of OAuth's they are.
   * `invalid_grant` and `invalid_token` end a session.
   */
  readonly errors?: ErrorCodes
  /** What an id_token must say besides: answers what is wrong, for the audit log. Who does not satisfy it can't sign in. */
  readonly check?: (idToken: JsonObject) => string | undefined
  /**
   * For a provider that does not name its issuer as discovery would have it: `address` is what stands before
   * `/.well-known/openid-configuration`, and its metadata and id_tokens name exactly one of `names`. People are known by `issuer` all the same.
   */
  readonly discovery?: { readonly address: string; readonly names: readonly string[] }
  /**
   * For a provider whose metadata stand for many issuers: exactly what they name as `issuer`, with `{tenantid}` for an id_token's `tid`. The
   * accepted tenants are then to be checked by `check`.
   */
  readonly issuerTemplate?: string
}
