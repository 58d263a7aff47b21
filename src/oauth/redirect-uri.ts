import { OAuthError } from './errors.ts'
import { isLoopbackHost } from './loopback.ts'
import { isReverseDomainScheme, knownPrivateUseSchemes, mayBePrivateUseScheme } from './private-use-schemes.ts'

/** Where a redirect ends: on a web server, or with a process or an app of this computer, which anyone can impersonate. */
export type RedirectKind = 'https' | 'loopback' | 'private'

declare const checked: unique symbol

/** A redirect URI that was checked. Made by `parseRedirectUri` alone. */
export interface RedirectUri {
  readonly [checked]: true
  /** Exactly as written: comparison is on this, never on a normalised form. */
  readonly text: string
  readonly kind: RedirectKind
  /**
   * Who receives the code, as people are shown it and as consent remembers it: `app.example.com`, `localhost` (without the port, which is
   * free), `cursor://anysphere.cursor-mcp`, `com.example.app:`. International names are in their ASCII form.
   */
  readonly host: string
}

export interface RedirectUriOptions {
  /** Private-use schemes to accept beside those with a dot and those of known clients; lower case, without the colon. */
  readonly privateSchemes?: readonly string[]
}

export type RedirectUriResult =
  | { readonly ok: true; readonly uri: RedirectUri }
  | { readonly ok: false; readonly reason: string }

const maximumLength = 2048

/**
 * Checks a redirect URI: `https`, loopback `http`, or a private-use scheme, without fragment, user name or tricks of spelling.
 * @see RFC 8252 §7, RFC 9700 §4.1
 */
export const parseRedirectUri = (text: string, options: RedirectUriOptions = {}): RedirectUriResult => {
  const reason = refuseText(text)
  if (reason !== undefined) return { ok: false, reason }
  const [, scheme = '', authority, rest = ''] = /^([A-Za-z][A-Za-z0-9+.-]*):(?:\/\/([^/?]*))?(.*)$/.exec(text) ?? []
  if (scheme === '') return refused('it is not an absolute URI')
  if (authority?.includes('@')) return refused('it has a user name in it')
  if (hasResponseParameter(rest)) return refused('its query has a parameter that the response needs')
  const name = scheme.toLowerCase()
  if (name === 'https' || name === 'http') return webUri(text, name, authority)
  return privateUri(text, name, authority, rest, options)
}

const refused = (reason: string): RedirectUriResult => ({ ok: false, reason })

const accepted = (text: string, kind: RedirectKind, host: string): RedirectUriResult => ({
  ok: true,
  uri: Object.freeze({ text, kind, host }) as RedirectUri,
})

/** What no URI may hold. A character that isn't in RFC 3986 means different things to different parsers, and can't be in a header. */
const refuseText = (text: string): string | undefined => {
  if (text === '') return 'it is empty'
  if (text.length > maximumLength) return `it is longer than ${maximumLength} characters`
  if (text.includes('#')) return 'it has a fragment'
  if (!/^[A-Za-z0-9\-._~:/?[\]@!$&'()*+,;=%]+$/.test(text)) {
    return 'it has characters that a URI must not have (international names must be in their ASCII form)'
  }
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) return 'it has a percent sign that is no percent-encoding'
  if (/%(?:[01][0-9A-Fa-f]|7[Ff])/.test(text)) return 'it has encoded control characters'
  return undefined
}

/** They would stand twice in the response, and the client might read the wrong one. */
const responseParameters = ['code', 'state', 'iss', 'error', 'error_description', 'error_uri', 'response']

const hasResponseParameter = (rest: string): boolean => {
  const query = rest.indexOf('?')
  if (query < 0) return false
  const names = new URLSearchParams(rest.slice(query + 1))
  return responseParameters.some((name) => names.has(name))
}

const webUri = (text: string, scheme: 'https' | 'http', authority: string | undefined): RedirectUriResult => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || authority === undefined || !writtenCanonically(authority, url)) {
    return refused('its host is missing or not written in the usual form')
  }
  if (scheme === 'http') {
    if (!isLoopbackHost(url.hostname)) return refused('http is only for 127.0.0.1, [::1] and localhost')
    return accepted(text, 'loopback', url.hostname)
  }
  return isThisComputer(url.hostname) ? accepted(text, 'loopback', url.hostname) : accepted(text, 'https', url.host)
}

/**
 * A host that the URL parser had to change (`0x7f.1`, `ex%61mple.com`, an empty port) is read differently elsewhere: only the case of
 * letters and a default port that is written out are let pass.
 */
const writtenCanonically = (authority: string, url: URL): boolean => {
  const written = authority.toLowerCase()
  const defaultPort = url.protocol === 'https:' ? '443' : '80'
  return written === url.host || written === `${url.hostname}:${defaultPort}`
}

/** With https too: what answers there is whatever process runs on this computer, not a web site. */
const isThisComputer = (hostname: string): boolean =>
  isLoopbackHost(hostname) ||
  /^(127\.|0\.0\.0\.0$|\[::\]|\[::ffff:7f)/.test(hostname) ||
  /(^|\.)localhost\.?$/.test(hostname)

const privateUri = (
  text: string,
  scheme: string,
  authority: string | undefined,
  rest: string,
  options: RedirectUriOptions,
): RedirectUriResult => {
  const allowed =
    mayBePrivateUseScheme(scheme) &&
    (isReverseDomainScheme(scheme) ||
      knownPrivateUseSchemes.includes(scheme) ||
      (options.privateSchemes ?? []).includes(scheme))
  if (!allowed) return refused(`the scheme ${scheme.slice(0, 40)} is not allowed`)
  if (authority === undefined && rest === '') return refused('nothing follows its scheme')
  if (!URL.canParse(text)) return refused('it is not a valid URI')
  return accepted(text, 'private', authority ? `${scheme}://${authority.toLowerCase()}` : `${scheme}:`)
}

/**
 * Whether a request's redirect URI is this registered one: the same string, except that on loopback `http` the port is free.
 * `localhost` and `127.0.0.1` are not the same host.
 * @see RFC 8252 §7.3, RFC 9700 §2.1
 */
export const matchesRedirectUri = (registered: RedirectUri, requested: RedirectUri): boolean => {
  if (registered.text === requested.text) return true
  const a = withoutPort(registered)
  return a !== undefined && a === withoutPort(requested)
}

/** The request's redirect URI, if the client registered it; see `matchesRedirectUri`. */
export const findRedirectUri = (
  registered: readonly string[],
  requested: string,
  options: RedirectUriOptions = {},
): RedirectUri | undefined => {
  const result = parseRedirectUri(requested, options)
  if (!result.ok) return undefined
  const matches = (text: string): boolean => {
    const each = parseRedirectUri(text, options)
    return each.ok && matchesRedirectUri(each.uri, result.uri)
  }
  return registered.some(matches) ? result.uri : undefined
}

const withoutPort = (uri: RedirectUri): string | undefined => {
  const [, host, rest = ''] = /^http:\/\/(\[[^\]]*\]|[^:/?]*)(?::[0-9]+)?(.*)$/.exec(uri.text) ?? []
  if (host === undefined) return undefined
  // An empty path and "/" are the same resource (RFC 3986 §6.2.3), and clients mix them here.
  return `${host}${rest.startsWith('/') ? rest : `/${rest}`}`
}

export interface RefusedRedirectUri {
  readonly text: string
  readonly reason: string
}

export interface FilteredRedirectUris {
  readonly accepted: readonly RedirectUri[]
  readonly refused: readonly RefusedRedirectUri[]
}

const maximumUris = 32

/**
 * The good ones of a registration, each once. A client that registers several gets those that can be used, since it may need only one.
 * @throws OAuthError `invalid_redirect_uri` where none is good or there are too many
 */
export const filterRedirectUris = (list: readonly string[], options: RedirectUriOptions = {}): FilteredRedirectUris => {
  if (list.length > maximumUris) {
    throw new OAuthError('invalid_redirect_uri', `there are more than ${maximumUris} redirect_uris`)
  }
  const results = [...new Set(list)].map((text) => ({ text, result: parseRedirectUri(text, options) }))
  const good = results.flatMap(({ result }) => (result.ok ? [result.uri] : []))
  const bad = results.flatMap(({ text, result }) => (result.ok ? [] : [{ text, reason: result.reason }]))
  if (good.length === 0) {
    const reasons = bad.map(({ text, reason }) => `${shortened(text)}: ${reason}`).join('; ')
    throw new OAuthError(
      'invalid_redirect_uri',
      `none of the redirect_uris can be used: ${reasons || 'there are none'}`,
    )
  }
  return { accepted: good, refused: bad }
}

const shortened = (text: string): string => (text.length > 80 ? `${text.slice(0, 80)}...` : text)

/** The address of an authorization response: the redirect URI as it is, with the parameters that have a value added to its query. */
export const redirectLocation = (
  uri: RedirectUri,
  parameters: Readonly<Record<string, string | undefined>>,
): string => {
  const added = new URLSearchParams()
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) added.append(name, value)
  const separator = !uri.text.includes('?') ? '?' : /[?&]$/.test(uri.text) ? '' : '&'
  return added.size === 0 ? uri.text : `${uri.text}${separator}${added}`
}
