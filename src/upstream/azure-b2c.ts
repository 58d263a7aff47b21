import type { UpstreamClaims } from '../identity/access-token.ts'
import type { JsonObject } from '../identity/json.ts'
import { type ClientCredentialOptions, requireCredential } from './client-credential.ts'
import { openid, type PresetOptions } from './openid.ts'
import type { Provider } from './provider.ts'

export interface AzureB2cOptions<Claims = UpstreamClaims> extends PresetOptions<Claims>, ClientCredentialOptions {
  /** Where people sign in: `<tenant>.b2clogin.com`, or your own domain there. */
  readonly domain: string
  /** The directory (tenant) ID. */
  readonly tenantId: string
  /** The user flow or custom policy, such as `B2C_1_sign_in`. */
  readonly policy: string
}

const guid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/**
 * Sign in with a user flow or a custom policy of Azure Active Directory B2C. (Its successor, Entra External ID, is `entra({ externalTenant })`.)
 *
 * Each policy has metadata of its own, which name the tenant as issuer: people are the same in all of them, `sub` is their object in
 * the tenant. An id_token of another policy, which may ask less of people, is refused by its `tfp` (of older policies, `acr`).
 *
 * Claims are those that the policy lists; `email` is made of the first of `emails` where there is none, and is not verified: never decide by it.
 * A token for your own app is asked for by its client id as a scope: without any, B2C gives no access token. There is no userinfo, and nothing can
 * be revoked.
 *
 * Set up: an app registration in the tenant with the web redirect URI `<url>/authorize/callback/azure-b2c` and a client secret, and the policy.
 * Access tokens live an hour, refresh tokens 14 days, up to 90 as set in the policy, each replaced by the next.
 *
 * @throws TypeError for options that can't be right
 * @see https://learn.microsoft.com/azure/active-directory-b2c/openid-connect
 * @see https://learn.microsoft.com/azure/active-directory-b2c/tokens-overview
 */
export const azureB2c = <Claims = UpstreamClaims>(options: AzureB2cOptions<Claims>): Provider<Claims> => {
  const { domain, tenantId, policy, ...common } = options
  const { id = 'azure-b2c', clientId } = options
  requireCredential(id, options)
  const [host, tenant] = [domain.toLowerCase(), tenantId.toLowerCase()]
  if (!/^[a-z0-9-]+(\.[a-z0-9-]+)+$/.test(host)) {
    throw new TypeError('azure-b2c: domain is a host name, such as contoso.b2clogin.com')
  }
  if (!guid.test(tenant)) throw new TypeError('azure-b2c: tenantId is the directory (tenant) ID')
  if (!/^[\w-]+$/.test(policy)) throw new TypeError('azure-b2c: policy is the name of a user flow or custom policy')
  const issuer = `https://${host}/${tenant}/v2.0/`
  return openid({
    name: 'Microsoft',
    ...common,
    id,
    clientAuthentication: 'client_secret_post',
    scopes: options.scopes ?? ['openid', 'offline_access', clientId],
    issuer,
    discovery: {
      address: `https://${host}/${tenant}/${policy}/v2.0`,
      // The second where the policy's token compatibility says so.
      names: [issuer, `https://${host}/tfp/${tenant}/${policy.toLowerCase()}/v2.0/`],
    },
    check: ofPolicy(policy),
    derive: emailOf,
    userinfo: false,
    revokeTokens: false,
  })
}

const ofPolicy =
  (policy: string) =>
  ({ tfp, acr }: JsonObject): string | undefined => {
    const named = tfp ?? acr
    return typeof named === 'string' && named.toLowerCase() === policy.toLowerCase()
      ? undefined
      : 'the id_token is of another policy'
  }

const emailOf = ({ email, emails }: JsonObject): JsonObject => {
  const [first] = Array.isArray(emails) ? emails : []
  return email === undefined && typeof first === 'string' ? { email: first } : {}
}
