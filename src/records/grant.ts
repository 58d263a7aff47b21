import { hashSecret } from '../crypto/hash.ts'
import type { Actor } from '../identity/actor.ts'
import { recordType, refTo, type Stored } from './records.ts'

/** What an access token refers to: home of issuer, subject, client, and the resources with their scopes. Never merged with another, never widened. */
export type Grant = AuthorizationGrant | ExchangeGrant | AssertionGrant

interface GrantFacts {
  readonly id: string
  readonly issuer: string
  readonly account: string
  readonly subject: string
  readonly clientId: string
  /** Resource to scopes. */
  readonly resources: Readonly<Record<string, readonly string[]>>
  readonly upstreamSession: string
  /** When the person authenticated, seconds since the epoch. */
  readonly authTime: number
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  /** The end of this grant, whatever is refreshed until then. Milliseconds since the epoch. */
  readonly expiresAt: number
}

/** One completed authorization: home also of how the client authenticated, and of the state of its one code and one refresh token. */
export interface AuthorizationGrant extends GrantFacts {
  readonly kind: 'authorization'
  /** Where the code was sent: what the person reads on a page of connected apps. */
  readonly redirectHost: string
  readonly code: CodeState
  /** From redemption on. */
  readonly refresh?: RefreshState
  /** How the client authenticated at redemption: the least that its refreshes must do. */
  readonly clientAuthentication?: 'none' | 'secret' | 'key'
  /** Thumbprint of the key that it proved to have then, where it did: bound or not, a grant stays so. @see RFC 9449 §5 */
  readonly jkt?: string
}

/**
 * A token exchange: a child of the grant of the token that was exchanged. Its client is who exchanged; account, subject and upstream session
 * are its parent's. It has one access token and no other, and lives only while all of its chain does.
 */
export interface ExchangeGrant extends GrantFacts {
  readonly kind: 'exchange'
  /** The grants that it descends from: first that which a person approved, last its parent. Never empty. */
  readonly ancestors: readonly string[]
  /** Clients that it stands on besides its own: of its ancestors, and those that act. */
  readonly clients: readonly string[]
  /** Who acts, the whole chain; absent where nobody is said to. */
  readonly actor?: Actor
  /** Resource to scopes: what any token of the chain was for. Whatever it is exchanged into never has more of them. */
  readonly limits: Readonly<Record<string, readonly string[]>>
}

/** An enterprise's provider said who the person is and what for: nobody was asked here. It has one access token and no other. */
export interface AssertionGrant extends GrantFacts {
  readonly kind: 'assertion'
  /** Who acts for the person, where the provider says so. */
  readonly actor?: Actor
}

export interface CodeState {
  /** SHA-256 of the code's secret, base64url. */
  readonly hash: string
  readonly redirectUri: string
  readonly codeChallenge: string
  /** Thumbprint of the key that must be proven to redeem it, where the client named one. @see RFC 9449 §10 */
  readonly jkt?: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
  readonly redeemed?: { readonly attempt: string; readonly at: number }
}

export interface RefreshState {
  /** Random bytes that key this grant's MACs, together with the server's key; base64url. */
  readonly salt: string
  /** The MAC key of the server under which the current token was made. */
  readonly keyId: string
  readonly generation: number
  /** Superseded generations that may still be in the grace window, oldest first, with the time of it in milliseconds since the epoch. */
  readonly superseded: readonly (readonly [generation: number, at: number])[]
  /** Milliseconds since the epoch. */
  readonly usedAt: number
}

const grants = recordType<Grant>({
  name: 'grant',
  schema: 2,
  sealed: false,
  // The first had one kind of grant alone.
  upgrade: (value) => ({ ...(value as AuthorizationGrant), kind: 'authorization' }),
})
export const accountGrants = recordType<{ readonly clientId: string }>({
  name: 'account-grant',
  schema: 1,
  sealed: false,
})
export const sessionGrants = recordType<Record<string, never>>({ name: 'session-grant', schema: 1, sealed: false })

export const grantRef = (id: string) => refTo(grants, id)

/** Who acts for the person, the whole chain. */
export const actorOf = (grant: Grant): Actor | undefined => ('actor' in grant ? grant.actor : undefined)

/** Only these have a code and a refresh token. */
export const isAuthorization = (stored: Stored<Grant> | undefined): stored is Stored<AuthorizationGrant> =>
  stored?.value.kind === 'authorization'

/**
 * Index: the grants of an account. Written with the code (living as long as it), and at redemption again (living as long as the grant may, so
 * that a refresh stays one write); entries without a grant are dead.
 */
export const accountGrantRef = (account: string, grant: string) => refTo(accountGrants, account, grant)

/** Index: the grants of a client, so that they end with it. It lives as long as that of an account. */
export const clientGrants = recordType<Record<string, never>>({ name: 'client-grant', schema: 1, sealed: false })

/** The part of its keys that says which client: an id may be any text. */
export const clientGrantsOf = (clientId: string): string => hashSecret(clientId)

export const clientGrantRef = (clientId: string, grant: string) => refTo(clientGrants, clientGrantsOf(clientId), grant)

/**
 * Index: the grants that stand on an upstream session. Written with the code (living as long as it), and at redemption again (living as long as
 * the grant may): else the session could be released between the two.
 */
export const sessionGrantRef = (upstreamSession: string, grant: string) => refTo(sessionGrants, upstreamSession, grant)

/**
 * Indexes: the grants that were exchanged, of an account and of a client. Apart from the others, since there may be very many of them: so nobody who
 * looks for what people approved reads these. They live as long as the grants, and an entry whose chain has ended is dead.
 */
export const accountExchanges = recordType<Record<string, never>>({
  name: 'account-exchange',
  schema: 1,
  sealed: false,
})
export const clientExchanges = recordType<Record<string, never>>({ name: 'client-exchange', schema: 1, sealed: false })

export const accountExchangeRef = (account: string, grant: string) => refTo(accountExchanges, account, grant)

export const clientExchangeRef = (clientId: string, grant: string) =>
  refTo(clientExchanges, clientGrantsOf(clientId), grant)
