import type { GuardedFetch } from '../net/guarded-fetch.ts'
import { GuardedFetchError } from '../net/guarded-fetch-error.ts'
import { freshnessOf } from '../net/http-caching.ts'
import { type ClientIdUrl, parseClientIdDocument } from '../oauth/client-id-metadata.ts'
import type { ClientMetadataOptions } from '../oauth/client-metadata.ts'
import { parseRedirectUri, type RedirectUriOptions } from '../oauth/redirect-uri.ts'
import type { Client, DocumentCopy } from '../records/client.ts'
import type { DocumentFailure } from '../records/client-document.ts'

const minute = 60_000
const hour = 60 * minute

/** A document is asked for no more often than this, and no more seldom, whatever its headers say. Milliseconds, as all here. */
const leastFresh = 5 * minute
const mostFresh = 12 * hour
/** For a document that says nothing of it. */
const usuallyFresh = hour
/** Since it was last seen. Longer than any is fresh, so that one that is out of reach for a while costs nobody a session. */
const usableFor = 24 * hour
/** What is read in a transaction must not expire in it. */
const afterUse = hour

/** Registered clients always are. */
export const isFresh = ({ document }: Client, now: number): boolean =>
  document === undefined || now < document.freshUntil

export const isUsable = ({ document }: Client, now: number): boolean =>
  document === undefined || now < document.usableUntil

/** How long the record stays in the store. */
export const copyLife = ({ document }: Client, now: number): number =>
  Math.max(1, (document?.usableUntil ?? now) + afterUse - now)

/**
 * Fetches a client's document, or hears that our copy is still right.
 * @param known our copy, if we have one
 * @param now the store's clock
 */
export const fetchDocument = async (
  fetch: GuardedFetch,
  url: ClientIdUrl,
  known: Client | undefined,
  now: number,
  options: ClientMetadataOptions,
): Promise<{ readonly client: Client } | DocumentFailure> => {
  try {
    const response = await fetch(url.text, validators(known?.document))
    const { status, headers } = response
    const document = copyOf(headers, known?.document, now)
    if (status === 304 && known?.document) return { client: { ...known, document } }
    if (status === 404 || status === 410) return { kind: 'gone', reason: `its server answers ${status}` }
    if (status !== 200) return { kind: 'unreachable', reason: `its server answers ${status}` }
    const parsed = parseClientIdDocument(url, await readJson(response), options)
    if (!parsed.ok) return { kind: 'invalid', reason: parsed.reason }
    const { metadata } = parsed
    const client: Client = {
      id: url.text,
      source: 'document',
      name: metadata.clientName,
      ...(metadata.clientUri === undefined ? {} : { uri: metadata.clientUri }),
      redirectUris: metadata.redirectUris.map(({ text }) => text),
      applicationType: metadata.applicationType,
      authentication: metadata.tokenEndpointAuthMethod,
      ...(metadata.keys === undefined ? {} : { keys: metadata.keys }),
      grantTypes: metadata.grantTypes,
      ...(metadata.dpopBoundAccessTokens ? { dpopBoundAccessTokens: true } : {}),
      ...(metadata.requirePushedRequests ? { requirePushedRequests: true } : {}),
      createdAt: known?.createdAt ?? now,
      document: copyOf(headers, undefined, now),
    }
    return { client }
  } catch (error) {
    if (!(error instanceof GuardedFetchError)) throw error
    return { kind: error.kind === 'refused' ? 'invalid' : 'unreachable', reason: error.message }
  }
}

const readJson = async (response: Response): Promise<unknown> => {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(await response.arrayBuffer()))
  } catch (cause) {
    throw new GuardedFetchError('refused', 'the document is not JSON', { cause })
  }
}

const validators = (copy: DocumentCopy | undefined): Record<string, string> => ({
  ...(copy?.etag === undefined ? {} : { 'If-None-Match': copy.etag }),
  ...(copy?.lastModified === undefined ? {} : { 'If-Modified-Since': copy.lastModified }),
})

/** @see RFC 9111 §4.2, §4.3 */
const copyOf = (headers: Headers, known: DocumentCopy | undefined, now: number): DocumentCopy => {
  const fresh = Math.min(mostFresh, Math.max(leastFresh, freshnessOf(headers, now) ?? usuallyFresh))
  const etag = headers.get('etag') ?? known?.etag
  const lastModified = headers.get('last-modified') ?? known?.lastModified
  return {
    checkedAt: now,
    freshUntil: now + fresh,
    usableUntil: now + usableFor,
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { lastModified }),
  }
}

/** Where its redirects end, as people are shown it. */
export const redirectsOf = (client: Client, options: RedirectUriOptions) =>
  client.redirectUris.flatMap((text) => {
    const parsed = parseRedirectUri(text, options)
    return parsed.ok ? [parsed.uri] : []
  })

/** Whether it says something else than before. */
export const hasChanged = (before: Client, after: Client): boolean => said(before) !== said(after)

const said = ({ id: _id, source: _source, createdAt: _createdAt, document: _document, ...rest }: Client): string =>
  JSON.stringify(Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1)))
