import type { Resource } from './resource.ts'
import { withImplied } from './scope-hierarchy.ts'

/** Asks for a refresh token. Accepted from everyone, and no scope of any resource. @see OpenID Connect Core §11 */
export const offlineAccess = 'offline_access'

/** @see RFC 6749 §3.3 */
export const isScopeToken = (text: string): boolean => /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(text)

/**
 * The scope tokens of a `scope` parameter, each once, in the order sent; undefined where the syntax is wrong.
 * More than one space between tokens is let pass.
 * @see RFC 6749 §3.3
 */
export const parseScope = (text: string): string[] | undefined => {
  const tokens = text.split(' ').filter((token) => token !== '')
  return tokens.every(isScopeToken) ? [...new Set(tokens)] : undefined
}

export const formatScope = (scopes: readonly string[]): string => scopes.join(' ')

/**
 * What a request at the authorization endpoint asks for of this resource, with all that it implies. Scopes that the resource doesn't have are dropped; where none
 * is left (or none was sent), its default set. `offline_access` is never among them.
 */
export const grantableScopes = (requested: readonly string[] | undefined, resource: Resource): readonly string[] => {
  const known = (requested ?? []).filter((scope) => scope !== offlineAccess && Object.hasOwn(resource.scopes, scope))
  return withImplied(known.length > 0 ? [...new Set(known)] : resource.defaultScopes, resource.implies)
}
