import type { OAuthErrorCode } from '../oauth/errors.ts'
import { parseRedirectUri, redirectLocation } from '../oauth/redirect-uri.ts'
import type { ServerContext } from './context.ts'

/** Where a response goes, and the `state` that it takes along, percent-encoded as it came. */
export interface ResponseTarget {
  readonly redirectUri: string
  readonly state?: string | undefined
}

/** The address of a successful response. @see RFC 6749 §4.1.2, RFC 9207 §2 */
export const codeLocation = (server: ServerContext, target: ResponseTarget, code: string): string =>
  locationOf(server, target, { code })

/** The address of an error response. @see RFC 6749 §4.1.2.1, RFC 9207 §2 */
export const errorLocation = (
  server: ServerContext,
  target: ResponseTarget,
  error: OAuthErrorCode,
  description: string,
): string => locationOf(server, target, { error, error_description: description })

const locationOf = (
  { issuer, privateSchemes }: ServerContext,
  { redirectUri, state }: ResponseTarget,
  parameters: Readonly<Record<string, string>>,
): string => {
  const parsed = parseRedirectUri(redirectUri, { privateSchemes })
  if (!parsed.ok) throw new TypeError('a redirect URI that was never checked')
  const location = redirectLocation(parsed.uri, { ...parameters, iss: issuer })
  return state === undefined ? location : `${location}&state=${state}`
}
