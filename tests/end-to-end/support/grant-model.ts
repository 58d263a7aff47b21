import {
  CLIENTS,
  type ClientName,
  EXCHANGERS,
  type ExchangerName,
  LIFETIMES,
  type PersonName,
  RESOURCE,
} from './world.ts'

// What must be true, in a few lines of plain data: the oracle that the server is compared with.

export interface ModelToken {
  readonly token: string
  readonly scopes: readonly string[]
  readonly issuedAt: number
}

/** A token that can be exchanged, or was: at which resource, and with everybody who acts, the newest first. */
export interface ModelExchangeable {
  readonly token: string
  readonly resource: string
  readonly scopes: readonly string[]
  readonly actors: readonly ExchangerName[]
  /** What it comes to at most, of each resource that the chain has been at. */
  readonly limits: Readonly<Record<string, readonly string[]>>
  readonly expiresAt: number
  /** The exchanges before, the first one first. */
  readonly before: readonly ModelExchange[]
}

export interface ModelExchange extends ModelExchangeable {
  readonly client: ExchangerName
  /** The one of the chain that ended by itself ends those after it. */
  ended: boolean
}

export interface ModelGrant {
  readonly person: PersonName
  readonly client: ClientName
  readonly scopes: readonly string[]
  readonly code: { readonly code: string; readonly verifier: string; readonly issuedAt: number; redeemedAt?: number }
  /** Refresh tokens by generation, the current one last; each with the time at which it was superseded. */
  readonly refresh: { readonly token: string; supersededAt?: number }[]
  readonly access: ModelToken[]
  /** All that came of its access tokens by exchange, in whatever steps. */
  readonly exchanged: ModelExchange[]
  ended: boolean
}

export interface Model {
  readonly grants: ModelGrant[]
  readonly subjects: Map<PersonName, string>
  /** Allowed so far, by person and client. */
  readonly consents: Map<string, Set<string>>
  /** Who signed in last in the browser that is shared. */
  inShared?: PersonName
}

export const emptyModel = (): Model => ({ grants: [], subjects: new Map(), consents: new Map() })

export const consentOf = (model: Model, person: PersonName, client: ClientName): Set<string> => {
  const key = `${person} ${client}`
  const known = model.consents.get(key) ?? new Set<string>()
  model.consents.set(key, known)
  return known
}

/** Only an https redirect can't be taken by another program on the same computer. */
export const mayBeSkipped = (client: ClientName): boolean => client === 'web'

export const otherThan = (client: ClientName): ClientName =>
  CLIENTS[(CLIENTS.indexOf(client) + 1) % CLIENTS.length] ?? client

export type Redemption = 'redeems' | 'refused' | 'revokes'

export function redemption({ code, ended }: ModelGrant, now: number): Redemption {
  if (ended) return 'refused'
  if (code.redeemedAt !== undefined) return now - code.redeemedAt <= 10_000 ? 'refused' : 'revokes'
  return now < code.issuedAt + LIFETIMES.code * 1000 ? 'redeems' : 'refused'
}

export type Refreshing = 'rotates' | 'repeats' | 'revokes' | 'refused'

export function refreshing({ refresh, ended }: ModelGrant, generation: number, now: number): Refreshing {
  const presented = refresh[generation]
  if (ended || presented === undefined) return 'refused'
  if (presented.supersededAt === undefined) return 'rotates'
  return now - presented.supersededAt <= LIFETIMES.refreshGrace * 1000 ? 'repeats' : 'revokes'
}

/** Undefined near its end, where a clock's tolerance decides. */
export function isLive(grant: ModelGrant, { issuedAt }: ModelToken, now: number): boolean | undefined {
  return grant.ended ? false : isUnexpired(issuedAt + LIFETIMES.accessToken * 1000, now)
}

const isUnexpired = (expiresAt: number, now: number): boolean | undefined =>
  now < expiresAt - 1000 ? true : now > expiresAt + 120_000 ? false : undefined

/** It ends with the grant that a person approved, and with every exchange that it comes of; and no later than the token that was exchanged. */
export const isExchangeLive = (grant: ModelGrant, exchange: ModelExchange, now: number): boolean | undefined =>
  grant.ended || [...exchange.before, exchange].some(({ ended }) => ended)
    ? false
    : isUnexpired(exchange.expiresAt, now)

/** What a person's own access token is to who exchanges it. */
export const exchangeable = (grant: ModelGrant, { token, scopes, issuedAt }: ModelToken): ModelExchangeable => ({
  ...{ token, scopes, resource: RESOURCE, actors: [], before: [] },
  limits: { [RESOURCE]: grant.scopes },
  expiresAt: issuedAt + LIFETIMES.accessToken * 1000,
})

/** How many may follow one another. */
export const MOST_EXCHANGES = 8

export type Exchanging =
  | { readonly scopes: readonly string[] }
  | { readonly error: 'invalid_request' | 'invalid_target' }

/** What the operator said of the exchanger, and no more than the person and every step before allowed of that resource. */
export function exchanging(subject: ModelExchangeable, exchanger: ExchangerName, target: string): Exchanging {
  const policy: {
    serves?: readonly string[]
    from?: readonly string[]
    to?: Readonly<Record<string, readonly string[]>>
  } = EXCHANGERS[exchanger]
  if (!(policy.serves?.includes(subject.resource) || policy.from)) return { error: 'invalid_request' }
  if (subject.before.length + ('client' in subject ? 1 : 0) >= MOST_EXCHANGES) return { error: 'invalid_request' }
  if (target === subject.resource) return { scopes: subject.scopes }
  const allowed = policy.to?.[target]
  if (!allowed) return { error: 'invalid_target' }
  const limit = subject.limits[target]
  return { scopes: limit ? allowed.filter((scope) => limit.includes(scope)) : allowed }
}
