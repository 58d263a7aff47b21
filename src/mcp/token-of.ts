import type { AccessToken } from '../identity/access-token.ts'
import type { TokenSource } from '../identity/context.ts'
import { extraKey } from './auth-info.ts'

/**
 * The access token of anything that the SDKs hand to a handler: v1's `extra`, v2's `ctx`, the context of a server factory, an `AuthInfo`,
 * or a request with `auth`. With a source: only if that source verified it. Undefined where the gate was not in front.
 */
export function accessTokenOf<Upstream>(
  carrier: unknown,
  source: TokenSource<Upstream>,
): AccessToken<Upstream> | undefined
export function accessTokenOf(carrier: unknown): AccessToken | undefined
export function accessTokenOf(carrier: unknown, source?: TokenSource<unknown>): AccessToken<unknown> | undefined {
  for (const authInfo of [
    member(carrier, 'authInfo'),
    member(member(carrier, 'http'), 'authInfo'),
    member(carrier, 'auth'),
    carrier,
  ]) {
    const token = member(member(authInfo, 'extra'), extraKey)
    if (isAccessToken(token)) return source && !source.vouches(token) ? undefined : token
  }
  return undefined
}

const member = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined

// By its form and not by its class: an application and a library may each bring their own copy of this package.
const isAccessToken = (value: unknown): value is AccessToken<unknown> => {
  const kind = member(value, 'kind')
  return (kind === 'user' || kind === 'client') && typeof member(value, 'token') === 'string' && Object.isFrozen(value)
}
