import type { GuardedFetch } from '../net/guarded-fetch.ts'
import { GuardedFetchError } from '../net/guarded-fetch-error.ts'
import { boundedFetch } from '../upstream/bounded-fetch.ts'

/**
 * Gets what the operator named: bounded in size and time, and not kept to public addresses.
 * @param fetch the operator's, as for providers
 */
export const createOperatorFetch =
  (fetch: typeof globalThis.fetch): GuardedFetch =>
  async (url, headers = {}) => {
    try {
      return await boundedFetch(fetch)(url, { headers })
    } catch (cause) {
      throw new GuardedFetchError('unreachable', `${url} could not be fetched`, { cause })
    }
  }
