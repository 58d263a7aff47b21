import {
  type AccessToken,
  type AccessTokenFacts,
  createAccessToken,
  type UpstreamFacts,
} from '../identity/access-token.ts'
import type { Actor } from '../identity/actor.ts'
import type { JsonObject } from '../identity/json.ts'

/** Who a token of an operator's own making is for. */
export interface HandIssued {
  /** A person's id, or that of whatever uses the token. Without it the token is its client's own. */
  readonly subject?: string | undefined
  /** The client that uses it. */
  readonly clientId?: string | undefined
  readonly scopes?: readonly string[] | undefined
  readonly actor?: Actor | undefined
  /** Besides `iss`, `sub`, `client_id`, `scope`, `aud` and `exp`. */
  readonly claims?: JsonObject | undefined
  /** Who the person is at a provider. */
  readonly upstream?: Omit<UpstreamFacts, 'accessToken' | 'accessTokenDetails'> | undefined
  /** Seconds since the epoch; without it, it is good until it is taken away. */
  readonly expiresAt?: number | undefined
}

/** What a handler sees of such a token: the same as of any other. @param now milliseconds since the epoch */
export const handIssuedToken = (
  token: string,
  resource: string,
  issuer: string,
  now: number,
  {
    clientId: client,
    subject = client,
    scopes = [],
    actor,
    claims,
    upstream,
    expiresAt: ends,
  }: HandIssued & { clientId: string },
): AccessToken => {
  const clientId = client
  const expiresAt = Math.min(ends ?? Number.POSITIVE_INFINITY, Math.floor(now / 1000) + lookedAtFor)
  const facts: AccessTokenFacts = {
    ...{ token, issuer, subject, clientId, scopes: [...new Set(scopes)], resource, expiresAt, actor },
    kind: subject === clientId ? 'client' : 'user',
    claims: {
      ...structuredClone(claims ?? {}),
      ...{ iss: issuer, sub: subject, client_id: clientId, aud: resource, exp: expiresAt },
      ...(scopes.length > 0 && { scope: scopes.join(' ') }),
    },
    upstream: upstream && structuredClone(upstream),
  }
  return createAccessToken(facts)
}

/** SHA-256, by what every host has. */
export const digestOf = async (text: string): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)))

/** Constant-time for digests, which are equally long. */
export const sameDigest = (a: Uint8Array, b: Uint8Array): boolean => {
  let difference = a.length ^ b.length
  for (let at = 0; at < a.length; at += 1) difference |= (a[at] ?? 0) ^ (b[at] ?? 0)
  return difference === 0
}

/** Seconds: what has no end of its own is looked at again. */
const lookedAtFor = 3600
