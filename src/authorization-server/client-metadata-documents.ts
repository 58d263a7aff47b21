import { base64url } from '../crypto/bytes.ts'
import type { Audit } from '../events/audit.ts'
import type { Logger } from '../events/logger.ts'
import type { Random } from '../events/random.ts'
import type { GuardedFetch } from '../net/guarded-fetch.ts'
import { type ClientIdUrl, type DomainRules, isDomainAllowed, parseClientIdUrl } from '../oauth/client-id-metadata.ts'
import { isLoopbackHost } from '../oauth/loopback.ts'
import { type Client, clientRef } from '../records/client.ts'
import { type DocumentFailure, type DocumentFetch, documentFetchRef } from '../records/client-document.ts'
import { put, type Records, type Stored } from '../records/records.ts'
import { copyLife, fetchDocument, hasChanged, isFresh, isUsable, redirectsOf } from './client-document.ts'
import { type ClientKeyLookup, createClientKeyLookup } from './client-keys.ts'

/** The clients whose id is the URL of their metadata document. @see draft-ietf-oauth-client-id-metadata-document §5 */
export interface ClientMetadataDocuments {
  /**
   * The client as its document describes it now, fetched where the copy in the store is not fresh.
   * @param stored the client's record, as it was read at `now`
   * @throws StoreUnavailable
   */
  resolve(id: string, stored: Stored<Client> | undefined, now: number, options?: ResolveOptions): Promise<Resolved>
  readonly keys: ClientKeyLookup
  /** Whether the operator's rules let what is at this URL be fetched. */
  mayFetch(url: string): boolean
}

export interface ResolveOptions {
  /** A session is at stake: while the document can't be reached, or is slow, or broken, the last good copy serves until its end. */
  readonly lastGoodCopy?: boolean
  /** Called before anything is fetched; it may throw. `known`: we have a copy of it. */
  readonly beforeFetch?: (known: boolean) => Promise<void>
}

export type Resolved =
  | { readonly kind: 'client'; readonly client: Stored<Client> }
  /** `refused`: by the form of the URL, or by the operator's rules. */
  | { readonly kind: 'refused' | DocumentFailure['kind']; readonly reason: string }

export interface DocumentsContext {
  readonly records: Records
  readonly random: Random
  readonly audit: Audit
  readonly logger: Logger
  /** Makes a fetch with a budget of its own. */
  readonly newFetch: () => GuardedFetch
  readonly privateSchemes: readonly string[]
  /** Whether the provider of an enterprise may say what a client may do for its people. */
  readonly assertions?: boolean
  readonly rules: DomainRules & { readonly loopback?: boolean }
}

// Milliseconds. A fetch takes less than the lease, whatever happens.
const lease = 15_000
// So long nobody asks again for what failed. It is no cache of errors: it keeps one broken document from being asked for by every request.
const pauseAfterFailure = 20_000
// Who has a copy does not keep a client waiting for longer.
const patienceWithCopy = 2_000
const patience = 12_000

interface Fetches {
  /** For documents of which we have no copy. */
  readonly first: GuardedFetch
  readonly again: GuardedFetch
}

export const createClientMetadataDocuments = (context: DocumentsContext): ClientMetadataDocuments => {
  const { rules, newFetch } = context
  // Whoever names ever new documents, at a known client's own site even, uses up nothing of what known clients need.
  const fetches: Fetches = { first: newFetch(), again: newFetch() }
  const underWay = new Map<string, Promise<Resolved>>()

  const fetchOnce = (url: ClientIdUrl): Promise<Resolved> => {
    const existing = underWay.get(url.text)
    if (existing) return existing
    const result = obtain(context, fetches, url).finally(() => underWay.delete(url.text))
    underWay.set(url.text, result)
    return result
  }

  const mayFetch = (url: string): boolean => {
    const { protocol, hostname } = new URL(url)
    const local = rules.loopback === true && isLoopbackHost(hostname)
    return (protocol === 'https:' || local) && (local || isDomainAllowed(rules, hostname))
  }
  const keys = createClientKeyLookup(newFetch())

  return {
    // A document may name any address, and the rules may be stricter than when a client was registered.
    keys: async (of, ...rest) => ('jwksUri' in of && !mayFetch(of.jwksUri) ? [] : keys(of, ...rest)),
    mayFetch,

    async resolve(id, stored, now, { lastGoodCopy = false, beforeFetch } = {}) {
      if (stored && stored.value.source !== 'document') return { kind: 'client', client: stored }
      const parsed = parseClientIdUrl(id, rules)
      if (!parsed.ok) return { kind: 'refused', reason: `client_id: ${parsed.reason}` }
      if (!isDomainAllowed(rules, parsed.url.hostname)) {
        return { kind: 'refused', reason: `client_id: the domain ${parsed.url.domain} is not allowed` }
      }
      if (stored && isFresh(stored.value, now)) return { kind: 'client', client: stored }
      await beforeFetch?.(stored !== undefined)
      const copy = lastGoodCopy && stored && isUsable(stored.value, now) ? stored : undefined
      if (!copy) return fetchOnce(parsed.url)
      const resolved = await within(patienceWithCopy, fetchOnce(parsed.url), context.logger)
      return resolved?.kind === 'client' || resolved?.kind === 'gone' ? resolved : { kind: 'client', client: copy }
    },
  }
}

/** One fetch at a time in the cluster: who takes the lease fetches, and the others read what came of it. */
const obtain = async (context: DocumentsContext, fetches: Fetches, url: ClientIdUrl): Promise<Resolved> => {
  const { records, random } = context
  const lock = documentFetchRef(url.text)
  const mine: DocumentFetch = { attempt: base64url(random.bytes(12)) }
  const started = performance.now()
  for (let poll = 25; ; poll = Math.min(poll * 2, 400)) {
    const { values, now } = await records.get(lock, clientRef(url.text))
    const [running, stored] = values
    if (stored && isFresh(stored.value, now)) return { kind: 'client', client: stored }
    if (running?.value.failed) return running.value.failed
    if (!running) {
      const taken = await records.commit({ unchanged: [lock], puts: [put(lock, mine, lease)] })
      if (!taken.committed) continue
      const held = { ref: lock, value: mine, version: taken.version }
      const resolved = await fetchAndKeep(context, stored ? fetches.again : fetches.first, url, held, stored, now)
      if (resolved) return resolved
    }
    if (performance.now() - started > patience) {
      return { kind: 'unreachable', reason: 'the fetch of another process has not ended' }
    }
    await sleep(poll)
  }
}

/** Undefined where the lease was lost: then another's answer is newer. */
const fetchAndKeep = async (
  { records, audit, privateSchemes, assertions = false }: DocumentsContext,
  fetch: GuardedFetch,
  url: ClientIdUrl,
  held: Stored<DocumentFetch>,
  stored: Stored<Client> | undefined,
  now: number,
): Promise<Resolved | undefined> => {
  const ref = clientRef(url.text)
  const answer = await fetchDocument(fetch, url, stored?.value, now, { privateSchemes, assertions })
  if ('kind' in answer) {
    const { committed } = await records.commit({
      unchanged: [held],
      puts: [put(held.ref, { ...held.value, failed: answer }, pauseAfterFailure)],
      deletes: answer.kind === 'gone' ? [ref] : [],
    })
    if (!committed) return undefined
    audit({ type: 'client.document_failed', clientId: url.text, reason: `${answer.kind}: ${answer.reason}` })
    return answer
  }
  const { client } = answer
  const result = await records.commit({
    unchanged: [held],
    puts: [put(ref, client, copyLife(client, now))],
    deletes: [held.ref],
  })
  if (!result.committed) return undefined
  if (!stored || hasChanged(stored.value, client)) {
    audit({
      type: 'client.document_read',
      clientId: client.id,
      ...(client.name === undefined ? {} : { name: client.name }),
      redirectHosts: redirectsOf(client, { privateSchemes }).map(({ host }) => host),
      changed: stored !== undefined,
    })
  }
  return { kind: 'client', client: { ref, value: client, version: result.version } }
}

/** Undefined where it takes too long, or our own store fails: it goes on by itself, for the next who asks. */
const within = async <T>(milliseconds: number, promise: Promise<T>, logger: Logger): Promise<T | undefined> => {
  const quiet = promise.catch((error: unknown) => {
    logger.warn('a client’s metadata document could not be looked up', { error })
    return undefined
  })
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, milliseconds, undefined)
  })
  try {
    return await Promise.race([quiet, late])
  } finally {
    clearTimeout(timer)
  }
}

const sleep = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))
