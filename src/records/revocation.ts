import { hashSecret } from '../crypto/hash.ts'
import { recordType, refTo } from './records.ts'

/** One line of the revocation log: short-lived, ordered by the store's clock, written in the commit that revokes. */
export interface Revocation {
  /** The id of a grant, the `jti` of a token that has none, or `clientRevocation` of a client. */
  readonly revoked: string
}

export const revocations = recordType<Revocation>({ name: 'revocation', schema: 1, sealed: false })

const digits = 15

/** The part of a log key that says when: fixed width, so that the bytewise order is the order of time. `at` in milliseconds since the epoch. */
export const revocationTime = (at: number): string => String(Math.max(0, at)).padStart(digits, '0')

export const revocationRef = (at: number, revoked: string) => refTo(revocations, `${revocationTime(at)}-${revoked}`)

const clientPrefix = 'client.'

/**
 * Of all that was issued to a client: whoever remembers tokens of it looks again.
 * @param id a new one for each time: what a node has heard of already changes nothing there
 */
export const clientRevocation = (clientId: string, id: string): string => `${clientPrefix}${hashSecret(clientId)}.${id}`

export const isClientRevocation = (revoked: string): boolean => revoked.startsWith(clientPrefix)

/** What other nodes hear at once. */
export const revocationMessage = (revoked: string): string => `revoked:${revoked}`

export const revokedOf = (message: string): string | undefined =>
  message.startsWith('revoked:') ? message.slice('revoked:'.length) : undefined

/** How long a line of the log stays, in milliseconds: longer than anybody remembers that a grant lives. */
export const revocationLifetime = 10 * 60_000

/** How far each reading of the log goes back behind the one before, in milliseconds: a line is written a little after the time in its key. */
export const revocationOverlap = 30_000

const revokedTokens = recordType<Record<string, never>>({ name: 'revoked-token', schema: 1, sealed: false })

/** A token that has no grant to end was revoked. Kept until it would have expired. */
export const revokedTokenRef = (id: string) => refTo(revokedTokens, hashSecret(id))
