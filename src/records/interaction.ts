import type { JsonObject } from '../identity/json.ts'
import { recordType, refTo } from './records.ts'

/** An authorization request under way in one browser, from `/authorize` to the code. */
export interface Interaction {
  readonly id: string
  /** SHA-256 of the interaction's cookie, base64url: only the browser that began goes on. */
  readonly browser: string
  /** In every form of the interaction's pages. */
  readonly csrf: string
  readonly request: AuthorizationRequest
  /** The account that the consent page showed. */
  readonly shownAccount?: string
  /** What the person allowed. Scopes are those that stayed ticked. */
  readonly approved?: { readonly scopes: readonly string[]; readonly at: number }
  /** Who signed in, in the course of this interaction. */
  readonly signedIn?: { readonly account: string; readonly upstreamSession: string; readonly authTime: number }
  /** A provider was asked; its answer must bring this `state`. */
  readonly upstream?: { readonly provider: string; readonly state: string; readonly pending: JsonObject }
  /** Milliseconds since the epoch. */
  readonly createdAt: number
}

/** An authorization request whose every parameter was checked. */
export interface AuthorizationRequest {
  readonly clientId: string
  readonly redirectUri: string
  readonly redirectKind: 'https' | 'loopback' | 'private'
  readonly redirectHost: string
  readonly state?: string
  readonly codeChallenge: string
  readonly resource: string
  readonly scopes: readonly string[]
  readonly prompt: readonly string[]
  /** Seconds. */
  readonly maxAge?: number
  readonly loginHint?: string
}

const interactions = recordType<Interaction>({ name: 'interaction', schema: 1, sealed: true })

export const interactionRef = (id: string) => refTo(interactions, id)
