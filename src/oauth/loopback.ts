const loopbackHosts: readonly string[] = ['localhost', '127.0.0.1', '[::1]']

/** Is this URL's `hostname` this machine itself? @see RFC 8252 §7.3 */
export const isLoopbackHost = (hostname: string): boolean => loopbackHosts.includes(hostname)
