import type { UpstreamClaims } from '../identity/access-token.ts'
import type { JsonObject } from '../identity/json.ts'
import { openid, type PresetOptions } from './openid.ts'
import type { Provider } from './provider.ts'

export interface OracleOptions<Claims = UpstreamClaims> extends PresetOptions<Claims> {
  readonly clientSecret: string
  /** The host of the domain's URL, such as `idcs-0123456789abcdef0123456789abcdef.identity.oraclecloud.com`. */
  readonly domain: string
}

const shared = 'https://identity.oraclecloud.com'

/**
 * Sign in with an identity domain of Oracle Cloud Infrastructure, or with Oracle Identity Cloud Service (IDCS).
 *
 * All of Oracle's customers have one issuer, `https://identity.oraclecloud.com/`, and `sub` is a login name, which can be changed and given to
 * somebody else. So people are known by the domain's own URL and by `user_id`, and an id_token of another domain is refused. `iss` and `sub` of
 * the claims are these, too; what Oracle said is kept as it was in the stored id_token.
 *
 * Claims: those of the id_token (`user_displayname`, `tenant`, `domain`, …) and of userinfo (`name`, `preferred_username`, `email`, `email_verified`);
 * with the scope `groups` the groups, as objects.
 *
 * Set up: in the domain a confidential application with the grants "Authorization code" and "Refresh token" (without the latter, leave
 * `offline_access` out of `scopes`) and the redirect URL `<url>/authorize/callback/oracle`; and in the domain's settings "Configure client access", since
 * nobody can read the signing keys else. Access tokens live an hour, refresh tokens a week, or as set in the application.
 *
 * @throws TypeError for a domain that is none
 * @see https://docs.oracle.com/en/cloud/paas/identity-cloud/rest-api/IdentityToken.html
 * @see https://docs.oracle.com/en/cloud/paas/iam-domains-rest-api/op-well-known-openid-configuration-get.html
 */
export const oracle = <Claims = UpstreamClaims>(options: OracleOptions<Claims>): Provider<Claims> => {
  const { domain, ...common } = options
  const host = domain.toLowerCase()
  const [, tenant] = /^(idcs-[0-9a-f]{32})\.([a-z0-9-]+\.)*identity\.oraclecloud\.com$/.exec(host) ?? []
  if (tenant === undefined)
    throw new TypeError('oracle: domain is the host of its URL: idcs-….identity.oraclecloud.com')
  const issuer = `https://${host}`
  return openid({
    id: 'oracle',
    name: 'Oracle',
    ...common,
    scopes: options.scopes ?? ['openid', 'profile', 'email', 'offline_access'],
    issuer,
    // Newer domains can be set to name themselves.
    discovery: { address: issuer, names: [`${shared}/`, shared, issuer, `${issuer}/`, `${issuer}:443`] },
    subject: 'user_id',
    check: ofTenant(tenant),
  })
}

/** The keys are the domain's own; this is for the day when they are not. */
const ofTenant =
  (tenant: string) =>
  ({ tenant: named, user_tenantname: user }: JsonObject): string | undefined =>
    (named ?? user) === tenant ? undefined : 'the id_token is of another domain'
