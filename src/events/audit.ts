/**
 * What happened, for an operator: every decision about identity is one event, with a reason that can be acted on and no secret in it.
 * An event's `type` is stable; members may be added.
 */
export type AuditEvent = AuditFacts & { readonly at: number }

/** `at` is added by the audit: milliseconds since the epoch. */
export type AuditFacts =
  /** With all that hung on it. `upstreamFailed`: sessions at providers that can't be ended there; `upstreamPending`: that still are to be. */
  | {
      readonly type: 'account.deleted'
      readonly account: string
      readonly grants: number
      readonly sessions: number
      readonly upstreamFailed: number
      readonly upstreamPending: number
    }
  | {
      readonly type: 'client.registered'
      readonly clientId: string
      readonly name?: string
      readonly redirectHosts: readonly string[]
    }
  | { readonly type: 'client.created'; readonly clientId: string; readonly name?: string }
  | { readonly type: 'client.deleted'; readonly clientId: string; readonly by: 'operator' | 'client' }
  /** By the operator, or by itself. @see RFC 7592 §2.2 */
  | {
      readonly type: 'client.updated'
      readonly clientId: string
      readonly by: 'operator' | 'client'
      readonly name?: string
      readonly redirectHosts: readonly string[]
    }
  /** For itself, with no person behind it. */
  | {
      readonly type: 'client.token_issued'
      readonly clientId: string
      readonly resource: string
      readonly scopes: readonly string[]
    }
  | { readonly type: 'client.token_revoked'; readonly clientId: string }
  | { readonly type: 'client.refused'; readonly reason: string; readonly address?: string }
  /** A client's metadata document was read for the first time, or says something else than before. */
  | {
      readonly type: 'client.document_read'
      readonly clientId: string
      readonly name?: string
      readonly redirectHosts: readonly string[]
      readonly changed: boolean
    }
  | { readonly type: 'client.document_failed'; readonly clientId: string; readonly reason: string }
  | {
      readonly type: 'authorization.requested'
      readonly clientId: string
      readonly interaction: string
      /** Resource to scopes. */
      readonly resources: Readonly<Record<string, readonly string[]>>
    }
  | {
      readonly type: 'authorization.refused'
      readonly reason: string
      readonly clientId?: string
      readonly interaction?: string
    }
  | {
      readonly type: 'consent.approved'
      readonly clientId: string
      readonly interaction?: string
      readonly resources: Readonly<Record<string, readonly string[]>>
      readonly remembered: boolean
    }
  /** By the person: all that it had of this account has ended. */
  | {
      readonly type: 'client.disconnected'
      readonly clientId: string
      readonly account: string
      readonly grants: number
    }
  | { readonly type: 'consent.denied'; readonly clientId: string; readonly interaction: string }
  | {
      readonly type: 'sign_in.succeeded'
      readonly provider: string
      readonly account: string
      readonly issuer: string
      readonly subject: string
      readonly created: boolean
    }
  /** A person added to their account another way to sign in. */
  | {
      readonly type: 'account.identity_added'
      readonly account: string
      readonly provider: string
      readonly issuer: string
      readonly subject: string
    }
  | {
      readonly type: 'account.identity_removed'
      readonly account: string
      readonly issuer: string
      readonly subject: string
    }
  | {
      readonly type: 'account.identity_refused'
      readonly account: string
      readonly provider: string
      readonly reason: string
    }
  | { readonly type: 'sign_out'; readonly account: string; readonly everywhere: boolean }
  | { readonly type: 'sign_in.refused'; readonly provider: string; readonly reason: string; readonly address?: string }
  | {
      readonly type: 'code.issued'
      readonly clientId: string
      readonly grant: string
      readonly account: string
      readonly resources: Readonly<Record<string, readonly string[]>>
    }
  | { readonly type: 'code.redeemed'; readonly clientId: string; readonly grant: string }
  | { readonly type: 'code.refused'; readonly reason: string; readonly clientId?: string; readonly grant?: string }
  | { readonly type: 'code.replayed'; readonly clientId: string; readonly grant: string; readonly revoked: boolean }
  /** Somebody's token became another one, with a grant of its own. */
  | {
      readonly type: 'token.exchanged'
      /** Who exchanged. */
      readonly clientId: string
      readonly grant: string
      /** The grant of the token that was exchanged, and its client. */
      readonly parent: string
      readonly parentClientId: string
      readonly account: string
      /** What allowed it. */
      readonly by: 'audience' | 'may_act' | 'policy'
      readonly resource: string
      readonly scopes: readonly string[]
      /** Who acts, the whole chain: the current one first. */
      readonly actors: readonly { readonly issuer: string; readonly subject: string; readonly clientId?: string }[]
      /** The client was let pass for the person: it is not among those who act. */
      readonly impersonated: boolean
    }
  | {
      readonly type: 'exchange.refused'
      readonly reason: string
      readonly clientId?: string
      /** Of the token that was to be exchanged, where that is known. */
      readonly grant?: string
    }
  | { readonly type: 'token.refused'; readonly reason: string; readonly clientId?: string; readonly grant?: string }
  /** Somebody else's word was taken for a person (then there is a grant), or for a workload. */
  | {
      readonly type: 'assertion.accepted'
      readonly provider: string
      readonly issuer: string
      readonly subject: string
      readonly clientId: string
      readonly grant?: string
      readonly account?: string
      readonly resource: string
      readonly scopes: readonly string[]
    }
  | { readonly type: 'assertion.refused'; readonly reason: string; readonly clientId?: string; readonly grant?: string }
  | { readonly type: 'refresh.rotated'; readonly clientId: string; readonly grant: string; readonly generation: number }
  | {
      readonly type: 'refresh.repeated'
      readonly clientId: string
      readonly grant: string
      readonly generation: number
      readonly presented: number
    }
  | {
      readonly type: 'refresh.caught_up'
      readonly clientId: string
      readonly grant: string
      readonly generation: number
      readonly presented: number
    }
  | {
      readonly type: 'refresh.replayed'
      readonly clientId: string
      readonly grant: string
      readonly generation: number
      readonly presented: number
    }
  | { readonly type: 'refresh.refused'; readonly reason: string; readonly clientId?: string; readonly grant?: string }
  | {
      readonly type: 'grant.revoked'
      readonly grant: string
      readonly clientId: string
      readonly account?: string
      readonly by: 'client' | 'person' | 'operator' | 'code_replay' | 'refresh_replay' | 'upstream'
    }
  | { readonly type: 'introspection.refused'; readonly reason: string; readonly clientId?: string }
  | { readonly type: 'revocation.refused'; readonly reason: string; readonly clientId?: string }
  | {
      readonly type: 'access.refused'
      readonly reason: string
      readonly resource: string
      readonly status: number
      readonly clientId?: string
      readonly issuer?: string
      readonly subject?: string
      readonly scopes?: readonly string[]
    }
  /** A response that went on was ended, because its token is no longer good. */
  | {
      readonly type: 'access.ended'
      readonly reason: string
      readonly resource: string
      readonly clientId: string
      readonly issuer: string
      readonly subject: string
    }
  | { readonly type: 'upstream.refreshed'; readonly provider: string; readonly session: string }
  /** The provider said that a person may go on, without new tokens. */
  | { readonly type: 'upstream.checked'; readonly provider: string; readonly session: string }
  /** Somebody signed out at the provider, and it told us. */
  | {
      readonly type: 'upstream.logged_out'
      readonly provider: string
      readonly issuer: string
      readonly sub?: string
      readonly sid?: string
      readonly sessions: number
      readonly grants: number
    }
  /** A resource server got the provider's token of who called it. */
  | {
      readonly type: 'upstream.handed_out'
      readonly clientId: string
      readonly provider: string
      readonly session: string
      readonly grant: string
      readonly account: string
      readonly resource: string
    }
  | { readonly type: 'upstream.logout_refused'; readonly provider: string; readonly reason: string }
  | { readonly type: 'upstream.failed'; readonly provider: string; readonly session?: string; readonly reason: string }
  | { readonly type: 'upstream.ended'; readonly provider: string; readonly session: string; readonly reason: string }
  | { readonly type: 'upstream.revoked'; readonly provider: string; readonly session: string }
  | { readonly type: 'keys.created'; readonly keys: readonly string[] }
  /** A log could not keep so many events, the last of them at `at`. */
  | { readonly type: 'audit.dropped'; readonly count: number }
  /** The key ring is sealed for other secrets of the operator's than before. */
  | { readonly type: 'keys.sealed_again' }
  /** A new key was made. Until `activeFrom` it is only made known. */
  | {
      readonly type: 'keys.rotated'
      readonly use: 'sign' | 'seal' | 'mac'
      readonly key: string
      readonly algorithm?: string
      /** Milliseconds since the epoch. */
      readonly activeFrom: number
      readonly by: 'schedule' | 'operator' | 'compromise'
    }
  /** Keys were taken away: nothing lives that they made. */
  | { readonly type: 'keys.retired'; readonly keys: readonly string[] }
  /** Records that an older key sealed were sealed with the current one. */
  | { readonly type: 'keys.resealed'; readonly records: number }

/** Receives every event. It must not throw; what it returns is not waited for. */
export type AuditSink = (event: AuditEvent) => void | Promise<void>

/** Records an event. */
export type Audit = (facts: AuditFacts) => void
