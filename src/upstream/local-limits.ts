import { hashStrings } from '../crypto/hash.ts'
import { addressBlock, addressSite, blocksOfSite } from '../net/address-block.ts'
import { knownSignInRefs } from '../records/known-sign-in.ts'
import { type LookupHashes, readLookupHashes } from '../records/lookup-hash.ts'
import { put } from '../records/records.ts'
import type { UpstreamContext } from './context.ts'
import { SignInRefused } from './provider.ts'

export interface SignInLimitOptions {
  /** Wrong passwords for one account from one address in a window. Default: 10. */
  readonly perAccountAndAddress?: number
  /** Wrong passwords from one address in a window, whatever the account; from all of an IPv6 network of 48 bits four times as many. Default: 50. */
  readonly perAddress?: number
  /** Milliseconds. Default: 15 minutes. */
  readonly window?: number
}

export interface SignInLimits {
  /**
   * Runs an attempt within the limits; one that succeeds does not count.
   * @throws SignInRefused with reason `rate_limited`
   */
  attempt<T>(account: string, address: string | undefined, run: () => Promise<T>): Promise<T>
}

// A password check takes 128 MiB and a good part of a second of a core.
const atATime = 2
const longestQueue = 30
const mostPerAddress = 12
const rememberedFor = 30 * 86_400_000

/**
 * Limits guessing without giving anybody the means to lock another out: nothing is counted for an account alone. What counts is an address, and
 * an account from an address; an address from which an account was signed in before is not stopped for it by what others do from there (people
 * of one office share theirs). Where the host doesn't say addresses, only the number of checks at a time is limited.
 */
export const createSignInLimits = (
  { records, random, logger }: Pick<UpstreamContext, 'records' | 'random' | 'logger'>,
  { perAccountAndAddress = 10, perAddress = 50, window = 15 * 60_000 }: SignInLimitOptions = {},
): SignInLimits => {
  const { store } = records
  const turn = turns()
  let warned = false

  const counted = async <T>(
    hashes: LookupHashes,
    account: string,
    block: string,
    site: string | undefined,
    run: () => Promise<T>,
  ): Promise<T> => {
    const pair = `sign-in-pair/${hashes('sign-in-pair', account, block)[0]}`
    // The address comes first: one that is over its limit makes us keep nothing more, whatever names it tries, and uses up nothing of its site’s.
    const wider = [
      { key: `sign-in-address/${hashStrings(block)}`, most: perAddress },
      ...(site === undefined ? [] : [{ key: `sign-in-address/${hashStrings(site)}`, most: perAddress * blocksOfSite }]),
    ]
    let known: boolean | undefined
    for (const { key, most } of wider) {
      const { value, expiresIn } = await store.increment(key, 1, window)
      if (value <= most) continue
      known ??= await isKnown(hashes, account, block)
      if (!known) throw rateLimited(expiresIn)
    }
    const ofPair = await store.increment(pair, 1, window)
    if (ofPair.value > perAccountAndAddress) throw rateLimited(ofPair.expiresIn)
    let failed = false
    try {
      return await run()
    } catch (error) {
      failed = error instanceof SignInRefused && error.reason === 'credentials'
      throw error
    } finally {
      const counters = [pair, ...wider.map(({ key }) => key)]
      if (!failed) await Promise.all(counters.map((key) => store.increment(key, -1, window)))
    }
  }
  const isKnown = async (hashes: LookupHashes, account: string, block: string): Promise<boolean> =>
    (await records.get(...knownSignInRefs(hashes, account, block))).values.some((stored) => stored !== undefined)
  const remember = async (hashes: LookupHashes, account: string, block: string): Promise<void> => {
    const [ref, before] = knownSignInRefs(hashes, account, block)
    await records.commit({ puts: [put(ref, {}, rememberedFor)], deletes: [before] })
  }

  return {
    async attempt(account, address, run) {
      const block = address === undefined ? undefined : addressBlock(address)
      if (block === undefined) {
        if (!warned) logger.warn('the address of a sign-in is not known: guessing is limited in speed only')
        warned = true
        return turn('unknown', run)
      }
      const hashes = await readLookupHashes({ records, random })
      const site = address === undefined ? undefined : addressSite(address)
      const result = await counted(hashes, account, block, site, () => turn(site ?? block, run))
      await remember(hashes, account, block)
      return result
    },
  }
}

/** A few at a time, a bounded queue behind them, and of that only a part for one address. */
const turns = () => {
  const waiting: (() => void)[] = []
  const byAddress = new Map<string, number>()
  let running = 0

  return async <T>(block: string, run: () => Promise<T>): Promise<T> => {
    const mine = byAddress.get(block) ?? 0
    const bound = block === 'unknown' ? longestQueue : mostPerAddress
    if (mine >= bound || waiting.length >= longestQueue) throw rateLimited(2_000)
    byAddress.set(block, mine + 1)
    try {
      if (running >= atATime) await new Promise<void>((resolve) => waiting.push(resolve))
      else running++
      try {
        return await run()
      } finally {
        // A turn is handed on, so that nobody slips in between.
        const next = waiting.shift()
        if (next) next()
        else running--
      }
    } finally {
      const left = (byAddress.get(block) ?? 1) - 1
      if (left === 0) byAddress.delete(block)
      else byAddress.set(block, left)
    }
  }
}

const rateLimited = (milliseconds: number): SignInRefused =>
  new SignInRefused('rate_limited', { retryAfter: Math.max(1, Math.ceil(milliseconds / 1000)) })
