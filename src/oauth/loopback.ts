const loopbackHosts: readonly string[] = ['localhost', '127.0.0.1', '[::1]']

/** Is this URL's `hostname` this machine itself? @see RFC 8252 §7.3 */
export const isLoopbackHost = (hostname: string): boolean => loopbackHosts.includes(hostname)

/** Is this `https`, or `http` that stays on this machine? */
export const isSecureUrl = (text: string): boolean => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  return url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopbackHost(url.hostname))
}
