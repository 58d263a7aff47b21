import { OAuthError } from '../oauth/errors.ts'
import { findResource, sameResource } from '../oauth/resource.ts'
import { offlineAccess, parseScope } from '../oauth/scope.ts'
import { type ScopeHierarchy, withImplied } from '../oauth/scope-hierarchy.ts'
import type { Grant } from '../records/grant.ts'
import type { ServerContext } from './context.ts'

/** What one access token is for. */
export interface Target {
  /** The resource, as the grant has it. */
  readonly resource: string
  readonly scopes: readonly string[]
}

/**
 * What a request at the token endpoint may have of its grant: one of its resources, and no more than its scopes. What is left out is
 * inherited.
 * @throws OAuthError `invalid_target`, `invalid_scope`
 * @see RFC 8707 §2.2, RFC 6749 §6
 */
export const targetOf = (
  server: ServerContext,
  grant: Grant,
  { resource, scope }: { readonly resource?: readonly string[]; readonly scope?: string },
): Target => {
  const granted = resourceOf(grant, resource)
  const served = findResource(server.resources, granted)
  if (!served) {
    throw new OAuthError('invalid_grant', 'the resource of this grant is no longer served', { reason: 'resource_gone' })
  }
  return { resource: granted, scopes: narrowedScopes(grant.resources[granted] ?? [], scope, served.implies) }
}

/** Those of a target's scopes that the server's rule for people leaves this one, with what they imply. */
export const permittedScopes = (
  { resources }: Pick<ServerContext, 'resources'>,
  { resource, scopes }: Target,
  permitted: readonly string[] | undefined,
): readonly string[] => {
  if (!permitted) return scopes
  const all = withImplied(permitted, findResource(resources, resource)?.implies)
  return scopes.filter((scope) => all.includes(scope))
}

/** What a person allowed, without what the server's rule for people does not leave them. */
export const permittedResources = async (
  server: ServerContext,
  upstreamSession: string,
  resources: Grant['resources'],
): Promise<Grant['resources']> => {
  if (!server.providers.some(({ admit }) => admit)) return resources
  const identified = await server.custody.identity(upstreamSession)
  if (typeof identified === 'string') return resources
  return Object.fromEntries(
    Object.entries(resources).map(([resource, scopes]) => [
      resource,
      permittedScopes(server, { resource, scopes }, identified.scopes),
    ]),
  )
}

const resourceOf = (grant: Grant, requested: readonly string[] = []): string => {
  const all = Object.keys(grant.resources)
  const wanted = new Set(requested.map((indicator) => all.find((resource) => sameResource(resource, indicator))))
  const [first] = requested.length === 0 ? all : wanted
  if (first === undefined) throw new OAuthError('invalid_target', 'resource is not one of this grant')
  if (wanted.size > 1)
    throw new OAuthError('invalid_target', 'an access token is for one resource: ask for each on its own')
  return first
}

/**
 * What is asked for of what was granted; with a scope comes what it implies.
 * @throws OAuthError `invalid_scope`
 */
export const narrowedScopes = (
  granted: readonly string[],
  requested: string | undefined,
  implies: ScopeHierarchy | undefined,
): readonly string[] => {
  if (requested === undefined) return granted
  const scopes = parseScope(requested)
  if (!scopes) throw new OAuthError('invalid_scope', 'scope is malformed')
  const wanted = scopes.filter((scope) => scope !== offlineAccess)
  if (!wanted.every((scope) => granted.includes(scope)))
    throw new OAuthError('invalid_scope', 'scope is wider than what was granted')
  if (wanted.length === 0) return granted
  return withImplied(wanted, implies).filter((scope) => granted.includes(scope))
}
