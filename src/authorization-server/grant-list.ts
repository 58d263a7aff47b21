import type { Actor } from '../identity/actor.ts'
import { clientRef } from '../records/client.ts'
import {
  accountExchanges,
  accountGrants,
  actorOf,
  clientExchanges,
  clientGrants,
  clientGrantsOf,
  type ExchangeGrant,
  type Grant,
  grantRef,
} from '../records/grant.ts'
import type { RecordType, Ref, Stored } from '../records/records.ts'
import type { ServerContext } from './context.ts'
import { grantIdForm, isRedeemed } from './grants.ts'
import { chainLives, mayExchange, mayLive } from './identify.ts'

/** A grant as an operator sees it. */
export interface GrantSummary {
  readonly id: string
  /**
   * `authorization`: the person approved it. `assertion`: no person was asked here, an enterprise's provider said so. `exchange`: a token was exchanged;
   * it ends with its parent.
   */
  readonly kind: Grant['kind']
  readonly account: string
  /** `sub` in its tokens. */
  readonly subject: string
  readonly clientId: string
  /** The grant of the token that was exchanged. Present exactly where the kind is `exchange`. */
  readonly parent?: string
  /** Who acts for the person, the whole chain: the current one first. Absent where nobody is said to. */
  readonly actor?: Actor
  /** Where its code was sent, where there was one. */
  readonly redirectHost?: string
  /** Resource to scopes. */
  readonly resources: Grant['resources']
  /** When the person authenticated, seconds since the epoch. */
  readonly authTime: number
  /** Milliseconds since the epoch, as all times below. */
  readonly createdAt: number
  /** When its refresh token was last used. */
  readonly usedAt?: number
  readonly expiresAt: number
}

export interface GrantPage {
  readonly grants: readonly GrantSummary[]
  /** Where the next page begins; absent at the end. */
  readonly cursor?: string
}

/** Whose grants: of a person, by the `sub` of their tokens or by the account; or of a client. */
export type GrantOwner = string | { readonly account: string } | { readonly clientId: string }

/**
 * The live grants of a person or of a client, in pages: those whose code was redeemed, then those that were exchanged. A page may be short or empty
 * although there is a next one.
 */
export const listGrants = async (server: ServerContext, owner: GrantOwner, cursor?: string): Promise<GrantPage> => {
  const indexes = await indexesOf(server, owner)
  if (!indexes) return { grants: [] }
  const childrenAfter = cursor?.startsWith(childMark) ? cursor.slice(childMark.length) : undefined
  const own = childrenAfter === undefined ? await read(server, indexes.own, indexes.within, cursor) : undefined
  const grants = own ? own.grants.filter(isRedeemed) : []
  if (own?.next !== undefined) return { grants: grants.map(summaryOf), cursor: own.next }
  const children = await read(server, indexes.exchanged, indexes.within, childrenAfter)
  const living = await livingChildren(server, children.grants, children.now)
  return {
    grants: [...grants, ...living].map(summaryOf),
    ...(children.next === undefined ? {} : { cursor: childMark + children.next }),
  }
}

/** Before the part of a cursor that goes on among those that were exchanged. No grant's id has it. */
const childMark = 'exchanged.'
const pageSize = 100

interface Indexes {
  readonly own: RecordType<object>
  readonly exchanged: RecordType<object>
  readonly within: string
}

const indexesOf = async ({ accounts }: ServerContext, owner: GrantOwner): Promise<Indexes | undefined> => {
  if (typeof owner === 'object' && 'clientId' in owner) {
    return { own: clientGrants, exchanged: clientExchanges, within: clientGrantsOf(owner.clientId) }
  }
  const account = typeof owner === 'string' ? (await accounts.bySubject(owner))?.id : owner.account
  // Foreign text becomes no part of a key.
  if (account === undefined || !grantIdForm.test(account)) return undefined
  return { own: accountGrants, exchanged: accountExchanges, within: account }
}

const read = async (
  { records }: ServerContext,
  type: RecordType<object>,
  within: string,
  after: string | undefined,
): Promise<{ readonly grants: readonly Grant[]; readonly next: string | undefined; readonly now: number }> => {
  const listed = await records.list(type, within, { limit: pageSize, ...(after === undefined ? {} : { after }) })
  const ids = listed.values.map(({ ref }) => ref.key.slice(ref.key.lastIndexOf('/') + 1))
  const values = ids.length === 0 ? [] : (await records.get(...ids.map(grantRef))).values
  const grants = values.flatMap((stored) => (stored ? [stored.value] : []))
  return { grants, next: ids.length === pageSize ? ids.at(-1) : undefined, now: listed.now }
}

/** Those that tokens are still good of: with all that they stand on, which nothing tells them the end of. */
const livingChildren = async (
  server: ServerContext,
  grants: readonly Grant[],
  now: number,
): Promise<readonly ExchangeGrant[]> => {
  const children = grants.flatMap((grant) => (grant.kind === 'exchange' && grant.expiresAt > now ? [grant] : []))
  const ancestors = await byId(
    server,
    children.flatMap((child) => child.ancestors),
    grantRef,
  )
  const clients = await byId(
    server,
    children.flatMap((child) => [child.clientId, ...child.clients]),
    clientRef,
  )
  return children.filter((child) => {
    const client = clients.get(child.clientId)
    if (!mayLive(server, child.clientId, client) || !mayExchange(server, child.clientId, client)) return false
    const chain = child.ancestors.map((id) => ancestors.get(id))
    return chainLives(server, child, chain, clients)
  })
}

const byId = async <T>(
  { records }: Pick<ServerContext, 'records'>,
  ids: readonly string[],
  refOf: (id: string) => Ref<T>,
): Promise<ReadonlyMap<string, Stored<T> | undefined>> => {
  const found = new Map<string, Stored<T> | undefined>()
  const wanted = [...new Set(ids)]
  for (let from = 0; from < wanted.length; from += pageSize) {
    const some = wanted.slice(from, from + pageSize)
    const { values } = await records.get(...some.map(refOf))
    for (const [index, id] of some.entries()) found.set(id, values[index])
  }
  return found
}

const summaryOf = (grant: Grant): GrantSummary => {
  const { id, kind, account, subject, clientId, resources, authTime, createdAt, expiresAt } = grant
  const actor = actorOf(grant)
  const parent = grant.kind === 'exchange' ? grant.ancestors.at(-1) : undefined
  return {
    ...{ id, kind, account, subject, clientId },
    ...(parent === undefined ? {} : { parent }),
    ...(actor === undefined ? {} : { actor }),
    ...(grant.kind === 'authorization' ? { redirectHost: grant.redirectHost } : {}),
    ...{ resources, authTime, createdAt, expiresAt },
    ...(grant.kind === 'authorization' && grant.refresh ? { usedAt: grant.refresh.usedAt } : {}),
  }
}
