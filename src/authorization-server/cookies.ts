import { hashSecret } from '../crypto/hash.ts'

/**
 * Names of our cookies. On https `__Host-` keeps other hosts of the domain from setting them. A tag of the issuer keeps servers apart that
 * share a host: cookies don't know ports, and `__Host-` allows no path.
 */
const cookieName = (issuer: string, name: string): string =>
  `${issuer.startsWith('https:') ? '__Host-' : ''}cs-${hashSecret(issuer).slice(0, 6)}-${name}`

/** @param maxAge seconds; 0 takes the cookie away */
export const setCookie = (issuer: string, name: string, value: string, maxAge: number): string =>
  [
    `${cookieName(issuer, name)}=${value}`,
    'Path=/',
    `Max-Age=${maxAge}`,
    'HttpOnly',
    // Lax: a client's link and a provider's answer arrive with it, a form from elsewhere does not.
    'SameSite=Lax',
    ...(issuer.startsWith('https:') ? ['Secure'] : []),
  ].join('; ')

/** What a cookie is set to. */
export const cookieValue = (set: string): string => set.slice(set.indexOf('=') + 1, set.indexOf(';'))

/** Our cookies of a request, by the name that they were set with; of a repeated one the first. In the order sent, which is oldest first. */
export const readCookies = (issuer: string, request: Request): ReadonlyMap<string, string> => {
  const prefix = cookieName(issuer, '')
  const cookies = new Map<string, string>()
  for (const pair of (request.headers.get('cookie') ?? '').split(';')) {
    const [name = '', ...value] = pair.trim().split('=')
    const own = name.slice(prefix.length)
    if (name.startsWith(prefix) && !cookies.has(own)) cookies.set(own, value.join('='))
  }
  return cookies
}
