/** What an operator lets a client exchange. Resources are identifiers, scopes are theirs. @see RFC 8693 */
export interface ExchangePolicy {
  /** Resources that the client serves: tokens for them are addressed to it. */
  readonly serves: readonly string[]
  /** Clients whose people's tokens it may exchange, whatever they are for. `*` is every client. */
  readonly from: readonly string[]
  /** What it may get of other resources than that of the token: resource to scopes. */
  readonly to: Readonly<Record<string, readonly string[]>>
  /** Clients that it may name as the actor by a token of theirs, besides itself. */
  readonly actors: readonly string[]
  /** Ids of providers whose tokens it may have, of people who call a resource that it serves. */
  readonly upstream?: readonly string[]
  /** Whether it is left out of the chain where it names no actor: then nobody sees that it isn't the person who acts. */
  readonly impersonates: boolean
}

export interface ExchangeFacts {
  readonly authentication: 'none' | 'secret' | 'key'
  /** Id of the client that exchanges. */
  readonly client: string
  readonly policy: ExchangePolicy | undefined
  /** What is exchanged: alive, and proven where it is bound. */
  readonly subject: {
    readonly clientId: string
    readonly resource: string
    readonly scopes: readonly string[]
    /** The client that its `may_act` names. @see RFC 8693 §4.4 */
    readonly mayAct?: string | undefined
    /** How many exchanges it comes of. */
    readonly exchanges: number
  }
  /** The client whose own token was presented as the actor's. */
  readonly actor: string | undefined
  /** The resource that the new token would be for. */
  readonly target: string
  /** What the person granted, and what each token of the chain so far was for: resource to scopes. */
  readonly limits: Readonly<Record<string, readonly string[]>>
}

export type ExchangeRefusal =
  /** Whoever can pose as the client would be it. */
  | 'public_client'
  | 'actor_of_other_client'
  /** The token is not addressed to the client, and neither `may_act` nor the operator names it. */
  | 'not_permitted'
  | 'too_many_exchanges'
  | 'target_not_permitted'

export type ExchangeDecision =
  | {
      readonly allowed: true
      readonly by: 'audience' | 'may_act' | 'policy'
      /** Who acts from now on; undefined where the client is let pass for the subject. */
      readonly actor: string | undefined
      /** The most that the new token may have. */
      readonly scopes: readonly string[]
    }
  | { readonly allowed: false; readonly reason: ExchangeRefusal }

/** How many exchanges may follow one another. Every call with the last token looks at all of them. */
export const mostExchanges = 8

/** Denied unless something allows it. Scopes of a resource never come to more than any token of the chain had of it. */
export const decideExchange = (facts: ExchangeFacts): ExchangeDecision => {
  const { authentication, client, policy, subject, actor: presented } = facts
  if (authentication === 'none') return refused('public_client')
  if (presented !== undefined && presented !== client && !policy?.actors.includes(presented)) {
    return refused('actor_of_other_client')
  }
  const actor = presented ?? (policy?.impersonates ? undefined : client)
  const by = permission(facts, actor ?? client)
  if (!by) return refused('not_permitted')
  if (subject.exchanges >= mostExchanges) return refused('too_many_exchanges')
  const scopes = mostScopes(facts)
  return scopes ? { allowed: true, by, actor, scopes } : refused('target_not_permitted')
}

const permission = (
  { policy, subject }: ExchangeFacts,
  actor: string,
): 'audience' | 'may_act' | 'policy' | undefined => {
  if (policy?.serves.includes(subject.resource)) return 'audience'
  if (subject.mayAct === actor) return 'may_act'
  return policy?.from.some((from) => from === '*' || from === subject.clientId) ? 'policy' : undefined
}

const mostScopes = ({ policy, subject, target, limits }: ExchangeFacts): readonly string[] | undefined => {
  if (target === subject.resource) return subject.scopes
  const allowed = policy && Object.hasOwn(policy.to, target) ? policy.to[target] : undefined
  const limit = Object.hasOwn(limits, target) ? limits[target] : undefined
  return limit ? allowed?.filter((scope) => limit.includes(scope)) : allowed
}

const refused = (reason: ExchangeRefusal): ExchangeDecision => ({ allowed: false, reason })
