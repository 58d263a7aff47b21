import type { AccessToken } from '../identity/access-token.ts'
import type { GateRequest, MessageFilter, SessionIds } from './handler.ts'

/** Decides whether a verified caller may do what a request asks for, before anything is dispatched. */
export interface RequestPolicy {
  /**
   * May read the request's body, and then answers what it read, so that it is parsed once: what was decided on is what is dispatched.
   * @param parsedBody the body where the host read it already
   * @throws anything: then the request is refused as our own trouble
   */
  decide(request: GateRequest, token: AccessToken, parsedBody: unknown): PolicyDecision | Promise<PolicyDecision>
}

export type PolicyDecision =
  | {
      readonly outcome: 'allow'
      readonly parsedBody?: unknown
      readonly filter?: MessageFilter
      readonly session?: SessionIds
    }
  /** More scopes would help; `scopes` are those that this request needs. */
  | { readonly outcome: 'insufficient_scope'; readonly scopes: readonly string[] }
  /** No scope would help. */
  | { readonly outcome: 'forbid'; readonly reason: string; readonly id?: string | number }
  /** Not a request that can be decided on; `code` is JSON-RPC's. */
  | {
      readonly outcome: 'malformed'
      readonly status: 400 | 404 | 413 | 415
      readonly code: number
      readonly message: string
      readonly data?: object
      /** The request's own, where one request was read. */
      readonly id?: string | number
      readonly reason: string
    }
