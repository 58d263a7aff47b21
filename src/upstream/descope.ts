import type { UpstreamClaims } from '../identity/access-token.ts'
import { openid, type PresetOptions } from './openid.ts'
import type { Provider } from './provider.ts'

export interface DescopeOptions<Claims = UpstreamClaims> extends Omit<PresetOptions<Claims>, 'clientId'> {
  readonly projectId: string
  /** An access key of the project. */
  readonly clientSecret: string
  /** Of another federated application than the default one, as the console shows them. */
  readonly issuer?: string
  readonly clientId?: string
}

/**
 * Sign in with Descope.
 *
 * Set up: the project's OIDC application (there is a default one, whose client id is the project's), with the domain of this server among the
 * approved domains, and an access key as client secret.
 *
 * @see https://docs.descope.com/identity-federation/applications/oidc-apps/oidc-endpoints
 */
export const descope = <Claims = UpstreamClaims>(options: DescopeOptions<Claims>): Provider<Claims> => {
  const { projectId, ...common } = options
  if (!/^[\w-]+$/.test(projectId)) throw new TypeError('descope: projectId is an id, such as P2abc…')
  return openid({
    id: 'descope',
    name: 'Descope',
    ...common,
    clientId: options.clientId ?? projectId,
    issuer: options.issuer ?? `https://api.descope.com/${projectId}`,
    scopes: options.scopes ?? ['openid', 'profile', 'email'],
  })
}
