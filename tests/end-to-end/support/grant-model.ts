import { CLIENTS, type ClientName, LIFETIMES, type PersonName } from './world.ts'

// What must be true, in a few lines of plain data: the oracle that the server is compared with.

export interface ModelToken {
  readonly token: string
  readonly scopes: readonly string[]
  readonly issuedAt: number
}

export interface ModelGrant {
  readonly person: PersonName
  readonly client: ClientName
  readonly scopes: readonly string[]
  readonly code: { readonly code: string; readonly verifier: string; readonly issuedAt: number; redeemedAt?: number }
  /** Refresh tokens by generation, the current one last; each with the time at which it was superseded. */
  readonly refresh: { readonly token: string; supersededAt?: number }[]
  readonly access: ModelToken[]
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
  if (grant.ended) return false
  const age = (now - issuedAt) / 1000
  if (age < LIFETIMES.accessToken - 1) return true
  return age > LIFETIMES.accessToken + 120 ? false : undefined
}
