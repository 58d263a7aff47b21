/** How long a second redemption of a code counts as a retry or a lost race, in milliseconds. */
export const duplicateWindow = 10_000

export interface RedemptionFacts {
  /** Milliseconds since the epoch, as all times here. */
  readonly now: number
  readonly expiresAt: number
  /** The id of this very attempt. */
  readonly attempt: string
  /** The attempt that won, where one has. */
  readonly redeemed?: { readonly attempt: string; readonly at: number } | undefined
}

/**
 * - `redeem`: write our attempt, if nobody else has
 * - `redeemed`: our own attempt is written (its outcome was unknown): answer the tokens
 * - `duplicate`: `invalid_grant`, and nothing changes
 * - `replay`: `invalid_grant`, and the grant is revoked
 * - `expired`: `invalid_grant`
 */
export type RedemptionDecision = 'redeem' | 'redeemed' | 'duplicate' | 'replay' | 'expired'

/** What to do with a code whose client, redirect URI and PKCE were found right: failing those must change nothing. */
export const decideRedemption = ({ now, expiresAt, attempt, redeemed }: RedemptionFacts): RedemptionDecision => {
  if (!redeemed) return now < expiresAt ? 'redeem' : 'expired'
  if (redeemed.attempt === attempt) return 'redeemed'
  return now - redeemed.at <= duplicateWindow ? 'duplicate' : 'replay'
}
