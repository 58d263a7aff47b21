import type { UpstreamClaims } from '../identity/access-token.ts'
import type { JsonObject } from '../identity/json.ts'
import type { BoundedFetch } from './bounded-fetch.ts'
import { type ClientCredentialOptions, requireCredential } from './client-credential.ts'
import { type OpenidOptions, openid, type PresetOptions } from './openid.ts'
import { type Provider, ProviderUnavailable } from './provider.ts'

type Common<Claims> = PresetOptions<Claims> &
  ClientCredentialOptions & {
    /**
     * Ask Microsoft Graph for the security groups of who is in more than a token can hold. Needs the delegated permission `User.Read`; the scopes
     * must leave the access token to Graph, so name no API of your own. Default: false.
     */
    readonly groupsFromGraph?: boolean
  }

/** Whose accounts may sign in. Tenants are named by their directory (tenant) ID, never by a domain: a domain can move. */
type Tenancy =
  /** One organisation. */
  | { readonly tenant: string }
  /**
   * Several organisations: those named, or `organizations` for any of them, or `any` for any of them and personal Microsoft accounts. With the
   * last two anybody who has such an account gets in: let handlers decide by (issuer, subject), or by `tid`, never by e-mail.
   */
  | { readonly tenants: readonly string[] | 'organizations' | 'any' }
  /** An External ID (customer) tenant. */
  | { readonly externalTenant: string }

export type EntraOptions<Claims = UpstreamClaims> = Common<Claims> & Tenancy

const authority = 'https://login.microsoftonline.com'
const guid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/**
 * Sign in with Microsoft Entra ID (Azure AD), or with Entra External ID.
 *
 * Entra's `sub` is another one for each app, so the subject is `oid`, the person's object in the tenant, and the issuer names the tenant:
 * together they are what Microsoft says to key by (`tid` and `oid`). A guest is another person in each tenant. `sub` of the claims is the
 * subject too; Entra's pairwise one is kept in the stored id_token statement only.
 *
 * Claims are those of the id_token; userinfo says no more, and refuses tokens for an API of your own. `groups` and `roles` come where the
 * app's registration says so (Token configuration; App roles). Who is in more than 200 groups has no `groups` at all, but `_claim_names`
 * with a member `groups`: require `groups` by your schema where access depends on it, or let Graph be asked (`groupsFromGraph`). `email` is not verified by Entra: never decide by it.
 *
 * The optional claim `auth_time` lets people change how they sign in here.
 *
 * Set up: an app registration with the web redirect URI `<url>/authorize/callback/entra` and a client secret, or a
 * certificate (`clientKey` with `algorithm: 'PS256'` and its `certificateThumbprint`), or a federated credential (`clientAssertionFile`). Never sends `resource`, which
 * Entra refuses beside scopes (AADSTS9010010): name an API by its scopes, `api://…/access`. Access tokens live 60 to 90 minutes, refresh
 * tokens 90 days from their last use, and are replaced by each refresh without the old ones ending. Nothing can be revoked there.
 *
 * @throws TypeError for a tenant that is not an ID
 * @see https://learn.microsoft.com/entra/identity-platform/claims-validation
 * @see https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference
 */
export const entra = <Claims = UpstreamClaims>(options: EntraOptions<Claims>): Provider<Claims> => {
  const { id = 'entra', clientKey } = options
  requireCredential(id, options)
  return openid({
    name: 'Microsoft',
    onBehalfOf: 'jwt_bearer',
    ...options,
    id,
    ...(clientKey ? { clientKey: { audience: 'token_endpoint', ...clientKey } } : {}),
    clientAuthentication: 'client_secret_post',
    scopes: options.scopes ?? [
      ...['openid', 'profile', 'email', 'offline_access'],
      ...(options.groupsFromGraph ? ['User.Read'] : []),
    ],
    ...(options.groupsFromGraph ? { directory: groupsOf } : {}),
    ...issuerOf(options),
    subject: 'oid',
    userinfo: false,
    revokeTokens: false,
  })
}

const issuerOf = (tenancy: Tenancy): Pick<OpenidOptions, 'issuer' | 'issuerTemplate' | 'check'> => {
  if ('externalTenant' in tenancy) {
    const tenant = tenantId(tenancy.externalTenant)
    return { issuer: `https://${tenant}.ciamlogin.com/${tenant}/v2.0`, check: inTenants([tenant]) }
  }
  if ('tenant' in tenancy) {
    const tenant = tenantId(tenancy.tenant)
    return { issuer: `${authority}/${tenant}/v2.0`, check: inTenants([tenant]) }
  }
  const { tenants } = tenancy
  return {
    issuer: `${authority}/${tenants === 'organizations' ? 'organizations' : 'common'}/v2.0`,
    issuerTemplate: `${authority}/{tenantid}/v2.0`,
    check: inTenants(typeof tenants === 'string' ? undefined : tenants.map(tenantId)),
  }
}

const graph = 'https://graph.microsoft.com/v1.0/me/getMemberObjects'

/** @see https://learn.microsoft.com/graph/api/user-getmemberobjects */
const groupsOf = async ({ _claim_names: elsewhere }: JsonObject, token: string, fetch: BoundedFetch) => {
  const overage = typeof elsewhere === 'object' && elsewhere !== null && 'groups' in elsewhere
  if (!overage) return {}
  const answer = await fetch(graph, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ securityEnabledOnly: true }),
  })
  const { value } = (answer.ok ? await answer.json() : {}) as { value?: unknown }
  if (!Array.isArray(value) || !value.every((id) => typeof id === 'string')) {
    throw new ProviderUnavailable('Microsoft Graph did not say the groups', { detail: `status ${answer.status}` })
  }
  return { groups: value }
}

const tenantId = (tenant: string): string => {
  const id = tenant.toLowerCase()
  if (!guid.test(id)) throw new TypeError('entra: a tenant is named by its directory (tenant) ID')
  return id
}

/** The tenant of an id_token, whose issuer was made of it, is one of ours. */
const inTenants =
  (tenants: readonly string[] | undefined) =>
  ({ tid }: JsonObject): string | undefined => {
    if (typeof tid !== 'string' || !guid.test(tid)) return 'the id_token names no tenant'
    return tenants && !tenants.includes(tid) ? `tenant ${tid} is not allowed` : undefined
  }
