import type { CryptoKey, createLocalJWKSet, FlattenedJWSInput, JSONWebKeySet, JWSHeaderParameters } from 'jose'
import * as errors from 'jose/errors'
import type { Clock } from '../events/clock.ts'
import type { Logger } from '../events/logger.ts'
import { TokenInvalid, VerifierUnavailable } from '../identity/verifier.ts'
import { jose } from '../oauth/jose.ts'

/** An issuer's keys, kept and fetched again as needed. */
export interface KeySet {
  /**
   * The keys that may have signed it: one, or several where the token does not say which.
   * @throws TokenInvalid the issuer has no such key
   * @throws VerifierUnavailable the keys can't be had
   */
  keysFor(header: JWSHeaderParameters, token: FlattenedJWSInput): Promise<readonly CryptoKey[]>
  /** Whether the keys are recent enough to need no fetch. */
  isFresh(): boolean
  ready(): Promise<void>
}

export interface KeySetOptions {
  readonly load: () => Promise<object>
  /** Called when the keys are not the same as before. */
  readonly changed: () => void
  readonly clock: Clock
  readonly logger: Logger
  /** All in milliseconds. */
  readonly freshFor: number
  /** How long the last good set is used while the issuer can't be reached. */
  readonly keptFor: number
  /** The least time between two fetches, whatever tokens ask for. */
  readonly coolDown: number
}

interface Current {
  readonly lookup: ReturnType<typeof createLocalJWKSet>
  readonly text: string
  readonly at: number
  /** What was looked up before, by the header's `alg` and `kid`. */
  readonly found: Map<string, readonly CryptoKey[]>
}

export const createKeySet = ({ load, changed, clock, logger, freshFor, keptFor, coolDown }: KeySetOptions): KeySet => {
  let current: Current | undefined
  let attempted = Number.NEGATIVE_INFINITY
  let failure: unknown
  let pending: Promise<void> | undefined

  const fetchOnce = async (): Promise<void> => {
    attempted = clock.now()
    try {
      const [set, { createLocalJWKSet }] = await Promise.all([load(), jose()])
      const lookup = createLocalJWKSet(usableKeys(set))
      const text = JSON.stringify(set)
      if (current && current.text !== text) changed()
      current = { lookup, text, at: clock.now(), found: new Map() }
      failure = undefined
    } catch (error) {
      failure = error
      logger.warn('the keys of an issuer could not be fetched', { error })
    }
  }

  /** One fetch at a time, and none during the cool-down: then the outcome of the last one stands. */
  const refresh = async (): Promise<void> => {
    if (!pending && clock.now() - attempted < coolDown) return
    pending ??= fetchOnce().finally(() => {
      pending = undefined
    })
    await pending
  }

  const isFresh = (): boolean => current !== undefined && clock.now() - current.at < freshFor

  const isKept = (): boolean => current !== undefined && clock.now() - current.at <= keptFor

  const lookUp = async (): Promise<Current> => {
    if (!isFresh()) {
      const refreshed = refresh()
      // An issuer that gave no answer last time may take long to give none again: who has keys does not wait for that.
      if (failure === undefined || !isKept()) await refreshed
    }
    if (!current || !isKept()) {
      throw new VerifierUnavailable('the keys of an issuer are not to be had', { cause: failure })
    }
    return current
  }

  return {
    isFresh,

    async ready() {
      await lookUp()
    },

    async keysFor(header, token) {
      const known = isFresh() ? current?.found.get(nameOf(header)) : undefined
      if (known) return known
      const first = await lookUp()
      const found = await matching(first, header, token)
      if (found.length > 0) return found
      await refresh()
      const again = current && current.lookup !== first.lookup ? await matching(current, header, token) : []
      if (again.length > 0) return again
      // Without an answer of the issuer nobody knows whether it has this key by now.
      if (failure !== undefined)
        throw new VerifierUnavailable('the keys of an issuer are not to be had', { cause: failure })
      throw new TokenInvalid('unknown_key')
    },
  }
}

const matching = async (
  { lookup, found }: Current,
  header: JWSHeaderParameters,
  token: FlattenedJWSInput,
): Promise<readonly CryptoKey[]> => {
  const keys: CryptoKey[] = []
  try {
    keys.push(await lookup(header, token))
  } catch (error) {
    if (error instanceof errors.JWKSNoMatchingKey) return []
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    for await (const key of error) keys.push(key)
  }
  if (keys.length > 0) found.set(nameOf(header), keys)
  return keys
}

/** All that a lookup goes by. Only what was found is kept under it: there are as many as there are keys, or twice that. */
const nameOf = ({ alg, kid }: JWSHeaderParameters): string => JSON.stringify([alg, kid])

/** A set may hold keys of kinds that we don't know beside those that we do. */
const usableKeys = (set: object): JSONWebKeySet => {
  const { keys } = set as { keys?: unknown }
  if (!Array.isArray(keys)) throw new Error('a key set without keys')
  const usable = keys.filter((key) => typeof key === 'object' && key !== null && !Array.isArray(key))
  return { keys: usable.slice(0, maximumKeys) }
}

const maximumKeys = 100
