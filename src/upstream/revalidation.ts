import type { UpstreamSession } from '../records/upstream-session.ts'

/** When a provider is asked whether a person may still go on. */
export interface Revalidation {
  /** `on_refresh`: at each refresh of a client's; `every` so many seconds: at refreshes and at calls, when its last answer is older. */
  readonly when: 'on_refresh' | { readonly every: number }
  /** How old its last answer may be while it can't be asked, in seconds: then refreshes and calls are answered with 503. */
  readonly maximumStaleness: number
}

export interface RevalidationOptions {
  /**
   * When the provider is asked whether a person may still go on: never (default), `on_refresh` at each refresh of a client's, or after so many
   * seconds at the next refresh or call. Where it says no, all that the person's clients have by this sign-in ends. It is asked by refreshing its
   * tokens, or, where it gave no refresh token, with the access token; when neither is left, the person must sign in again.
   */
  readonly revalidate?: 'never' | 'on_refresh' | number
  /** How long people go on while the provider is out of reach, in seconds since its last answer. Default: 3600. */
  readonly maximumStaleness?: number
}

const defaultStaleness = 3_600

/** @throws TypeError */
export const revalidationOf = (
  id: string,
  { revalidate = 'never', maximumStaleness = defaultStaleness }: RevalidationOptions,
): { readonly revalidation?: Revalidation } => {
  if (!isSeconds(maximumStaleness)) throw new TypeError(`${id}: maximumStaleness is a number of seconds`)
  if (revalidate === 'never') return {}
  if (revalidate === 'on_refresh') return { revalidation: { when: revalidate, maximumStaleness } }
  if (!isSeconds(revalidate)) throw new TypeError(`${id}: revalidate is "never", "on_refresh" or a number of seconds`)
  if (revalidate > maximumStaleness) {
    throw new TypeError(`${id}: maximumStaleness is shorter than the time after which the provider is asked`)
  }
  return { revalidation: { when: { every: revalidate }, maximumStaleness } }
}

const isSeconds = (value: number): boolean => Number.isSafeInteger(value) && value > 0

/** When the provider last said that this person may go on. Milliseconds since the epoch. */
export const lastHeard = ({ createdAt, tokensAt = 0, checkedAt = 0 }: UpstreamSession): number =>
  Math.max(createdAt, tokensAt, checkedAt)
