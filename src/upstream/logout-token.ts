import { decodeJwt, decodeProtectedHeader, type JWTPayload } from 'jose'
import { LogoutNotForUs, type LogoutToken, SignInRefused } from './provider.ts'

const event = 'http://schemas.openid.net/event/backchannel-logout'
// What clocks may differ, in seconds.
const skew = 60
// Older ones are worth nothing to a provider that sends them at once, and much to who found one.
const longestAge = 600

export interface LogoutExpectations {
  readonly clientId: string
  /** Of whom a logout may come. */
  readonly isIssuer: (issuer: string, claims: Readonly<Record<string, unknown>>) => boolean
  /** Seconds since the epoch. */
  readonly now: number
}

/**
 * Looks whether a token says that it is from the provider and for us, before its signature is verified.
 * @throws LogoutNotForUs; SignInRefused where it does not say
 */
export const checkAddressed = (token: string, { clientId, isIssuer }: Omit<LogoutExpectations, 'now'>): void => {
  const claims = claimsIn(token)
  const { iss, aud } = claims
  if (typeof iss !== 'string') throw untrusted('iss')
  if (!isIssuer(iss, claims)) throw new LogoutNotForUs('logout token: iss')
  if (aud === undefined) throw untrusted('aud')
  if (!isAudience(aud, clientId)) throw new LogoutNotForUs('logout token: aud')
}

const claimsIn = (token: string): JWTPayload => {
  try {
    return decodeJwt(token)
  } catch {
    throw untrusted('not a JWT')
  }
}

const isAudience = (aud: unknown, clientId: string): boolean => (Array.isArray(aud) ? aud : [aud]).includes(clientId)

/**
 * Reads a logout token whose signature was verified.
 * @throws SignInRefused with reason `untrusted`; `detail` says which rule it breaks
 * @see OpenID Connect Back-Channel Logout 1.0 §2.6
 */
export const readLogoutToken = (token: string, { clientId, isIssuer, now }: LogoutExpectations): LogoutToken => {
  const { typ } = decodeProtectedHeader(token)
  // Not every provider types its tokens; none may be of another type.
  if (typ !== undefined && !/^(application\/)?(logout\+)?jwt$/i.test(typ)) throw untrusted('typ')
  const claims = decodeJwt(token)
  const { iss, aud, iat, exp, jti, sub, sid, events, nonce } = claims
  if (iss === undefined || !isIssuer(iss, claims)) throw untrusted('iss')
  if (!isAudience(aud, clientId)) throw untrusted('aud')
  if (typeof iat !== 'number' || iat > now + skew || iat < now - longestAge) throw untrusted('iat')
  // Older revisions know no `exp`.
  if (exp !== undefined && (typeof exp !== 'number' || exp <= now - skew)) throw untrusted('exp')
  if (typeof jti !== 'string' || jti === '') throw untrusted('jti')
  if (!isEvent(events)) throw untrusted('events')
  // An id_token has one: it must never be taken for a logout token.
  if (nonce !== undefined) throw untrusted('nonce')
  if (sub !== undefined && (typeof sub !== 'string' || sub === '')) throw untrusted('sub')
  if (sid !== undefined && (typeof sid !== 'string' || sid === '')) throw untrusted('sid')
  if (sub === undefined && sid === undefined) throw untrusted('sub and sid')
  return {
    issuer: iss,
    ...(sub === undefined ? {} : { sub }),
    ...(typeof sid === 'string' ? { sid } : {}),
    issuedAt: iat,
    // However long it says to live, it is of no use after this.
    expiresAt: iat + longestAge + skew,
    jti,
  }
}

const untrusted = (part: string) => new SignInRefused('untrusted', { detail: `logout token: ${part}` })

const isEvent = (events: unknown): boolean => {
  if (typeof events !== 'object' || events === null || !Object.hasOwn(events, event)) return false
  const value = (events as Readonly<Record<string, unknown>>)[event]
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
