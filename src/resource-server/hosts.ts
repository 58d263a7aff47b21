import { isLoopbackHost } from '../oauth/loopback.ts'
import type { GateRequest } from './handler.ts'

/**
 * Makes the check of a request's `Host`: that of the resource's URL, for a loopback resource any loopback name with its port, and those
 * that the operator adds (`name` or `name:port`). A web page that rebinds its own name to our address fails here.
 */
export const createHostCheck = (resource: URL, extra: readonly string[]): ((request: GateRequest) => boolean) => {
  const names = isLoopbackHost(resource.hostname)
    ? [resource.hostname, 'localhost', '127.0.0.1', '[::1]'].map((name) => withPort(name, resource.port))
    : [resource.host]
  const defaultPort = resource.protocol === 'https:' ? '443' : '80'
  const allowed = new Set<string>()
  for (const name of [...names, ...extra]) {
    const host = name.toLowerCase()
    allowed.add(host)
    if (!hasPort.test(host)) allowed.add(`${host}:${defaultPort}`)
  }
  return (request) => {
    // Some hosts keep the Host header to themselves; their URL was made of it.
    const host = request.headers.get('host') ?? new URL(request.url).host
    return allowed.has(host) || allowed.has(host.toLowerCase())
  }
}

/**
 * Makes the check of an `Origin`: the resource's own, loopback ones (developer tools run there, on any port), and those that the
 * operator adds. A request without the header comes from no page.
 */
export const createOriginCheck = (resource: URL, extra: readonly string[]): ((origin: string) => boolean) => {
  const allowed = new Set([resource.origin, ...extra.map(originOf)])
  return (origin) => allowed.has(origin) || isLoopbackOrigin(origin)
}

/** Whether a text can be a value of `Host`. */
export const isHost = (text: string): boolean => /^[^\s/@?#,]+$/.test(text)

/** Whether a text names an origin. */
export const isOrigin = (text: string): boolean => /^[a-z][a-z0-9+.-]*:\/\/[^/]/i.test(text) && URL.canParse(text)

/**
 * As a browser sends it. For schemes of its own (`chrome-extension:`, `vscode-webview:`) the URL parser says `null`, which is what every sandboxed
 * page sends: there the text counts.
 */
const originOf = (text: string): string => {
  const { origin, protocol, host } = new URL(text)
  return origin === 'null' ? `${protocol}//${host}` : origin
}

const isLoopbackOrigin = (origin: string): boolean => {
  if (!/^https?:\/\//.test(origin) || !URL.canParse(origin)) return false
  const url = new URL(origin)
  return url.origin === origin && isLoopbackHost(url.hostname)
}

const hasPort = /:\d+$/
const withPort = (hostname: string, port: string): string => (port === '' ? hostname : `${hostname}:${port}`)
