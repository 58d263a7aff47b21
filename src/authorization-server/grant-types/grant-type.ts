import { OAuthError } from '../../oauth/errors.ts'
import { formatScope } from '../../oauth/scope.ts'
import type { Grant } from '../../records/grant.ts'
import type { Records, Stored, Unit } from '../../records/records.ts'
import type { UpstreamSession } from '../../records/upstream-session.ts'
import { type CommitResult, StoreUnavailable } from '../../store/store.ts'
import type { IssuedAccessToken } from '../access-token.ts'
import type { AuthenticatedClient } from '../client-authentication.ts'
import type { ServerContext } from '../context.ts'

/** @see RFC 6749 §5.1 */
export interface TokenResponse {
  readonly access_token: string
  readonly token_type: 'Bearer' | 'DPoP'
  /** Seconds. Absent where a provider doesn't say. */
  readonly expires_in?: number
  readonly scope?: string
  readonly refresh_token?: string
  /** @see draft-ietf-oauth-identity-assertion-authz-grant §4.4.1 */
  readonly resource?: string
  /** @see RFC 8693 §2.2.1 */
  readonly issued_token_type?: string
}

/** `scope` is always sent: then it is there when it differs from what was asked. */
export const tokenResponse = (
  { token, scopes, expiresIn, type }: IssuedAccessToken,
  refreshToken: string | undefined,
): TokenResponse => ({
  access_token: token,
  token_type: type,
  expires_in: expiresIn,
  ...(scopes.length === 0 ? {} : { scope: formatScope(scopes) }),
  ...(refreshToken === undefined ? {} : { refresh_token: refreshToken }),
})

/** One value of `grant_type`. */
export interface GrantType {
  /** The audit event of a refusal. */
  readonly refusal: 'code.refused' | 'refresh.refused' | 'token.refused' | 'assertion.refused' | 'exchange.refused'
  /** Clients ask for it by themselves, as often as they like: so it is counted. Codes and refresh tokens are bounded by the people behind them. */
  readonly ofClients?: true
  /** Nothing that is stored decides about it but its client: where that is one of the configuration, the store is not asked. */
  readonly byClientAlone?: true
  /** Whether the configuration gives it anything to do. Always, if absent. */
  isServed?(server: ServerContext): boolean
  /** Reads the request, before anything is looked up. @throws OAuthError */
  read(form: URLSearchParams): Presented
}

export interface Presented {
  /** The grant that the request says it is about. */
  readonly grant: string | undefined
  /** The upstream session that it says the grant stands on. */
  readonly session?: string | undefined
  /**
   * Says whose request it is before anything of the client is known, where something in it can be believed for itself.
   * @param now the store's clock
   * @throws OAuthError
   */
  vouch?(server: ServerContext, now: number): Promise<Vouched>
  /** @throws OAuthError */
  exchange(server: ServerContext, exchange: Exchange): Promise<TokenResponse>
}

export interface Vouched {
  readonly clientId: string
  /** Whether nothing else is needed to prove the client: it is one of the configuration. */
  readonly proves: boolean
}

/** What was read in one snapshot. */
export interface Exchange extends AuthenticatedClient {
  readonly grant: Stored<Grant> | undefined
  /** The upstream session that the request named: to be believed for a grant that stands on it, and for no other. */
  readonly session?: Stored<UpstreamSession> | undefined
  /** Thumbprint of the key that was proven with the request. @see RFC 9449 §5 */
  readonly jkt?: string
  /**
   * Uses the proof up, once. To be called when it is known that the request's code or token is genuine, and before anything is decided by it: else
   * strangers could fill the store, or a proof that was overheard could end a grant.
   * @throws OAuthError `invalid_dpop_proof` where it was used before
   */
  readonly useProof?: () => Promise<void>
  /** The store's clock, milliseconds since the epoch. */
  readonly now: number
}

/** A refusal that has its audit event already. */
export class AuditedRefusal extends OAuthError {}

export const invalidGrant = (reason: string): OAuthError =>
  new OAuthError('invalid_grant', 'the grant is not valid (any more): sign in again', { reason })

/**
 * Runs a decision on what was read, until one is final. Who loses a compare-and-swap, or doesn't know how its commit ended, reads again and
 * decides again; an endless race is our own trouble.
 * @param decide answers undefined to be asked again with what is there then
 */
export const decideUntilFinal = async <T>(
  first: Exchange,
  reread: () => Promise<Exchange>,
  decide: (exchange: Exchange) => Promise<T | undefined>,
): Promise<T> => {
  let exchange = first
  for (let attempt = 1; ; attempt++) {
    const result = await decide(exchange)
    if (result !== undefined) return result
    if (attempt === maximumAttempts) {
      throw new OAuthError('temporarily_unavailable', 'too many requests for this grant at once: try again', {
        reason: 'contention',
      })
    }
    if (attempt > 1) await pause(Math.random() * 10 * attempt)
    exchange = await reread()
  }
}

const maximumAttempts = 8

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Undefined where the batch was not applied, or nobody knows: read again. */
export const tryCommit = async (
  records: Records,
  unit: Unit,
): Promise<Extract<CommitResult, { committed: true }> | undefined> => {
  try {
    const result = await records.commit(unit)
    return result.committed ? result : undefined
  } catch (error) {
    if (error instanceof StoreUnavailable) return undefined
    throw error
  }
}
