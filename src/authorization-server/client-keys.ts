import type { CryptoKey, createLocalJWKSet, FlattenedJWSInput, JWSHeaderParameters } from 'jose'
import * as errors from 'jose/errors'
import type { GuardedFetch } from '../net/guarded-fetch.ts'
import { GuardedFetchError } from '../net/guarded-fetch-error.ts'
import { freshnessOf } from '../net/http-caching.ts'
import { type ClientKeys, publicKeys } from '../oauth/client-keys.ts'
import { jose } from '../oauth/jose.ts'

/**
 * The public keys of a client that may have signed an assertion: one, or several where it does not say which; none where the client has none.
 * @param now milliseconds since the epoch
 * @param beforeFetch called before anybody is asked; where it throws, what is known must do, or it is thrown
 * @throws ClientKeysUnavailable
 */
export type ClientKeyLookup = (
  keys: ClientKeys,
  header: JWSHeaderParameters,
  assertion: FlattenedJWSInput,
  now: number,
  beforeFetch?: () => Promise<void>,
) => Promise<readonly CryptoKey[]>

/** The keys can't be had now: that says nothing about the client. */
export class ClientKeysUnavailable extends Error {
  override readonly name = 'ClientKeysUnavailable'
}

type Lookup = ReturnType<typeof createLocalJWKSet>

interface Kept {
  readonly lookup?: Lookup
  /** When it was last asked for, and last had. */
  readonly askedAt: number
  readonly hadAt: number
  readonly freshUntil: number
}

// Milliseconds. As with documents: neither asked for at every turn, nor relied upon for ever.
const minute = 60_000
const leastFresh = 5 * minute
const mostFresh = 12 * 60 * minute
const usableFor = 24 * 60 * minute
/** An unknown key id asks for the set again no more often than this. */
const coolDown = minute / 2
const mostSets = 1_000

export const createClientKeyLookup = (fetch: GuardedFetch): ClientKeyLookup => {
  const sets = new Map<string, Kept>()
  const underWay = new Map<string, Promise<Kept>>()

  const load = async (uri: string, before: Kept | undefined, now: number): Promise<Kept> => {
    const failed = { hadAt: 0, freshUntil: 0, ...before, askedAt: now }
    try {
      const response = await fetch(uri)
      if (response.status !== 200) return failed
      const { keys } = (await response.json()) as { keys?: unknown }
      if (!Array.isArray(keys)) return failed
      const fresh = Math.min(mostFresh, Math.max(leastFresh, freshnessOf(response.headers, now) ?? leastFresh))
      const { createLocalJWKSet } = await jose()
      return {
        lookup: createLocalJWKSet({ keys: [...publicKeys(keys)] }),
        askedAt: now,
        hadAt: now,
        freshUntil: now + fresh,
      }
    } catch (error) {
      if (error instanceof GuardedFetchError || error instanceof SyntaxError) return failed
      throw error
    }
  }

  const loadOnce = (uri: string, now: number): Promise<Kept> => {
    const existing = underWay.get(uri)
    if (existing) return existing
    const result = load(uri, sets.get(uri), now)
      .then((kept) => {
        sets.delete(uri)
        sets.set(uri, kept)
        const [oldest] = sets.keys()
        if (sets.size > mostSets && oldest !== undefined) sets.delete(oldest)
        return kept
      })
      .finally(() => underWay.delete(uri))
    underWay.set(uri, result)
    return result
  }

  return async (keys, header, assertion, now, beforeFetch) => {
    if ('jwks' in keys) return keysIn(keys.jwks, header, assertion)
    const { jwksUri } = keys
    const ask = async (known?: Kept) => {
      try {
        await beforeFetch?.()
      } catch (error) {
        // As where nobody answers.
        if (known && isUsable(known, now)) return known
        throw error
      }
      return loadOnce(jwksUri, now)
    }
    const mayAsk = (kept: Kept) => now - kept.askedAt >= coolDown
    let kept = sets.get(jwksUri) ?? (await ask())
    if (now >= kept.freshUntil && mayAsk(kept)) kept = await ask(kept)
    const found = await matchingIn(kept, header, assertion, now)
    if (found.length > 0 || !mayAsk(kept)) return found
    return matchingIn(await ask(), header, assertion, now)
  }
}

/** The keys of a set that may have signed it. */
export const keysIn = async (
  { keys }: { readonly keys: readonly object[] },
  header: JWSHeaderParameters,
  assertion: FlattenedJWSInput,
): Promise<readonly CryptoKey[]> => {
  const { createLocalJWKSet } = await jose()
  return matching(createLocalJWKSet({ keys: keys.map((key) => ({ ...key })) }), header, assertion)
}

const matchingIn = (kept: Kept, header: JWSHeaderParameters, assertion: FlattenedJWSInput, now: number) => {
  if (!isUsable(kept, now)) throw new ClientKeysUnavailable('the keys of a client are not to be had')
  return matching(kept.lookup, header, assertion)
}

const isUsable = (kept: Kept, now: number): kept is Kept & { readonly lookup: Lookup } =>
  kept.lookup !== undefined && now - kept.hadAt <= usableFor

const matching = async (
  lookup: Lookup,
  header: JWSHeaderParameters,
  assertion: FlattenedJWSInput,
): Promise<readonly CryptoKey[]> => {
  try {
    return [await lookup(header, assertion)]
  } catch (error) {
    if (error instanceof errors.JWKSMultipleMatchingKeys) {
      const keys: CryptoKey[] = []
      for await (const key of error) keys.push(key)
      return keys
    }
    // No such key, or one that is none: both are the client's affair.
    return []
  }
}
