import type { JsonObject } from '../identity/json.ts'
import type { Prompt } from '../policy/sign-in.ts'
import { recordType, refTo } from './records.ts'

/** What is under way in one browser: an authorization request, from `/authorize` to the code; or a sign-in to the account page. */
export type Interaction = AuthorizationInteraction | AccountInteraction

export type AuthorizationInteraction = InteractionOf<AuthorizationRequest>
export type AccountInteraction = InteractionOf<AccountRequest>

interface InteractionOf<Request> {
  readonly id: string
  /** SHA-256 of the interaction's cookie, base64url: only the browser that began goes on. */
  readonly browser: string
  /** In every form of the interaction's pages. */
  readonly csrf: string
  readonly request: Request
  /** The account that the consent page showed. */
  readonly shownAccount?: string
  /** What the person allowed. Scopes are those that stayed ticked. */
  readonly approved?: { readonly resources: ResourceScopes; readonly at: number }
  /** Who signed in, in the course of this interaction. */
  readonly signedIn?: SignedIn
  /** Where a provider was asked: a few attempts, newest last, since a second click or the back button may begin another. */
  readonly upstream?: readonly UpstreamAttempt[]
  /** The person wants to sign in as somebody else than who was signed in. */
  readonly switching?: boolean
  /** What the browser was sent back with. The record stays for its time, so that a second click gets the same answer. */
  readonly finished?: { readonly location: string; readonly at: number; readonly grant?: string }
  /** Milliseconds since the epoch. */
  readonly createdAt: number
}

export interface SignedIn {
  readonly account: string
  readonly upstreamSession: string
  /** Seconds since the epoch. */
  readonly authTime: number
  /** When that was here, milliseconds since the epoch. */
  readonly createdAt?: number
}

/** A provider was asked; its answer must bring this `state`. */
export interface UpstreamAttempt {
  readonly provider: string
  readonly state: string
  readonly pending: JsonObject
  /** The answer came and is being checked: it counts once. Milliseconds since the epoch. */
  readonly claimedAt?: number
}

/** Somebody signs in to their account page. */
export interface AccountRequest {
  /** `visit`: to see it. `confirm`: again, before something is changed. `add`: as somebody whom the account is to have as another identity. */
  readonly purpose: 'visit' | 'confirm' | 'add'
  /** Whose page it was, where anybody was signed in. */
  readonly account?: string
  /** The provider to add. */
  readonly provider?: string
  /** For `confirm`: the providers where that may be. */
  readonly among?: readonly string[]
  readonly prompt: readonly Prompt[]
  readonly maxAge?: number
  readonly loginHint?: string
  readonly locales?: readonly string[]
}

export const isAuthorizationInteraction = (interaction: Interaction): interaction is AuthorizationInteraction =>
  !('purpose' in interaction.request)

/** Resource to scopes. */
export type ResourceScopes = Readonly<Record<string, readonly string[]>>

/** An authorization request whose every parameter was checked. */
export interface AuthorizationRequest {
  readonly clientId: string
  readonly redirectUri: string
  readonly redirectKind: 'https' | 'loopback' | 'private'
  readonly redirectHost: string
  /** Percent-encoded as the client sent it: so it returns byte for byte, whatever it encodes. */
  readonly state?: string
  readonly codeChallenge: string
  /** Thumbprint of the key that the code is for. @see RFC 9449 §10 */
  readonly dpopJkt?: string
  /** What it is for; the first that was asked for is the first here. */
  readonly resources: ResourceScopes
  readonly prompt: readonly Prompt[]
  /** Seconds. */
  readonly maxAge?: number
  readonly loginHint?: string
  /** Language tags, best first. */
  readonly locales?: readonly string[]
}

/** The first schema knew one resource alone. */
function ofOneResource(value: unknown): AuthorizationInteraction {
  const { request, approved, ...rest } = value as Omit<AuthorizationInteraction, 'request' | 'approved'> & {
    readonly request: AuthorizationRequest & { readonly resource: string; readonly scopes: readonly string[] }
    readonly approved?: { readonly scopes: readonly string[]; readonly at: number }
  }
  const { resource, scopes, ...others } = request
  return {
    ...rest,
    request: { ...others, resources: { [resource]: scopes } },
    ...(approved ? { approved: { resources: { [resource]: approved.scopes }, at: approved.at } } : {}),
  }
}

const interactions = recordType<Interaction>({ name: 'interaction', schema: 2, sealed: true, upgrade: ofOneResource })

export const interactionRef = (id: string) => refTo(interactions, id)
