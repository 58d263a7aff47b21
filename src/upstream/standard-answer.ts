import type { Json, JsonObject } from '../identity/json.ts'
import type { BoundedFetch } from './bounded-fetch.ts'

/** Error codes of a provider's own, and which of OAuth's they are. @see RFC 6749 §5.2, RFC 6750 §3.1 */
export type ErrorCodes = Readonly<Record<string, string>>

/** An answer that is an error, whatever its status, as OAuth would have it: with an error's status and a code of OAuth's. Undefined where it is none. */
export const standardError = (body: JsonObject, status: number, codes: ErrorCodes = {}): Response | undefined => {
  if (typeof body.error !== 'string') return undefined
  const error = (Object.hasOwn(codes, body.error) ? codes[body.error] : undefined) ?? body.error
  const changed = error === body.error ? body : { ...body, error, error_description: body.error }
  return Response.json(changed, { status: status >= 400 ? status : error === 'invalid_token' ? 401 : 400 })
}

export const objectOf = (text: string): JsonObject | undefined => {
  try {
    const value: Json = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined
  } catch {
    return undefined
  }
}

/** A fetch for a provider whose errors come with status 200. */
export const withStandardErrors =
  (fetch: BoundedFetch, codes: ErrorCodes): BoundedFetch =>
  async (url, init) => {
    const answer = await fetch(url, init)
    const body = objectOf(await answer.clone().text())
    return (body && standardError(body, answer.status, codes)) ?? answer
  }
