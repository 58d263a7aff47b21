/**
 * The session in the URL that messages of the HTTP+SSE transport are posted to. The official SDKs name it `sessionId` and `session_id`; beside it stands what
 * binds it to its caller, so that the server's own reading of the URL is left as it is.
 * @see MCP 2024-11-05, HTTP with SSE
 */
export interface EndpointSession {
  readonly session: string
  /** Undefined where nothing binds it. */
  readonly bound: string | undefined
}

/** Undefined where the URL names no session; `ambiguous` where servers might read one or the other. */
export const readEndpoint = (url: string): EndpointSession | 'ambiguous' | undefined => {
  const query = url.indexOf('?')
  if (query < 0) return undefined
  const sessions: string[] = []
  const bounds: string[] = []
  for (const [name, value] of new URLSearchParams(url.slice(query + 1).replaceAll(';', '&'))) {
    if (name === parameter) bounds.push(value)
    else if (namesSession(name)) sessions.push(value)
  }
  const [session] = sessions
  if (session === undefined) return undefined
  return sessions.length > 1 || bounds.length > 1 ? 'ambiguous' : { session, bound: bounds[0] }
}

/** The URL with what binds its session. */
export const boundEndpoint = (url: string, bound: string): string => {
  const hash = url.indexOf('#')
  const [bare, fragment] = hash < 0 ? [url, ''] : [url.slice(0, hash), url.slice(hash)]
  return `${bare}&${parameter}=${encodeURIComponent(bound)}${fragment}`
}

/** Also in the spellings that parsers of nested parameters take for it: `[sessionId]`, `sessionId[0]`. */
const namesSession = (name: string): boolean => name.toLowerCase().replace(notLetters, '').startsWith('sessionid')

const notLetters = /[^a-z]+/g
const parameter = 'cs_session'
