import type { UpstreamClaims } from '../identity/access-token.ts'
import type { Json, JsonObject } from '../identity/json.ts'
import type { ClientCredentialOptions } from './client-credential.ts'
import { openid, type PresetOptions } from './openid.ts'
import type { Provider } from './provider.ts'

export interface KeycloakOptions<Claims = UpstreamClaims> extends PresetOptions<Claims>, ClientCredentialOptions {
  /** The realm's address, such as `https://id.example.com/realms/staff`; with `/auth` before `/realms` on old servers. */
  readonly realm: string
}

/**
 * Sign in with Keycloak.
 *
 * Keycloak puts roles in its access token only, so that is verified and read too. `roles` are the realm's as they are named, and this client's
 * as `<client id>:<role>`, so that a role of one can't pass for the other's; where a mapper makes a claim `roles`, that one stays. `groups`
 * needs the mapper "Group Membership". What Keycloak said (`realm_access`, `resource_access`) is there as well.
 *
 * Set up: a client with "Client authentication" on, "Standard flow", and the redirect URI `<url>/authorize/callback/keycloak`.
 * Access tokens live five minutes. With `offline_access` a session lives as long as it is used once in 30 days; without, it ends with the
 * person's session in the browser (30 minutes idle). Refresh tokens don't rotate unless the realm says so. Revoking one ends all sessions that
 * the person has with this client, so nothing is revoked there.
 *
 * @see https://www.keycloak.org/docs/latest/server_admin/
 */
export const keycloak = <Claims = UpstreamClaims>(options: KeycloakOptions<Claims>): Provider<Claims> => {
  const { realm, ...common } = options
  return openid({
    id: 'keycloak',
    name: 'Keycloak',
    ...common,
    issuer: realm.replace(/\/+$/, ''),
    scopes: options.scopes ?? ['openid', 'profile', 'email', 'offline_access'],
    accessTokenClaims: true,
    derive: (said) => roles(said, options.clientId),
    revokeTokens: false,
  })
}

const roles = (
  { roles: own, realm_access: realm, resource_access: clients }: JsonObject,
  clientId: string,
): JsonObject => {
  const client = isObject(clients) ? clients[clientId] : undefined
  if (own !== undefined || (!isObject(realm) && !isObject(client))) return {}
  return { roles: [...rolesOf(realm), ...rolesOf(client).map((role) => `${clientId}:${role}`)] }
}

const rolesOf = (access: Json | undefined): readonly string[] => {
  const list = isObject(access) ? access.roles : undefined
  return Array.isArray(list) ? list.filter((role) => typeof role === 'string') : []
}

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
