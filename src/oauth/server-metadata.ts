import { idJagProfile, jwtBearerGrantType } from './assertion.ts'
import { clientAssertionAlgorithms } from './client-assertion.ts'
import { clientAuthenticationMethods, grantTypes } from './client-metadata.ts'
import { ConfigurationError } from './configuration-error.ts'
import { dpopAlgorithms } from './dpop-proof.ts'
import { isLoopbackHost } from './loopback.ts'
import type { Resource } from './resource.ts'
import { offlineAccess } from './scope.ts'
import { tokenExchangeGrantType } from './token-exchange.ts'

export interface ServerMetadataFacts {
  readonly issuer: string
  /** Absolute URLs. */
  readonly endpoints: {
    readonly authorize: string
    readonly token: string
    readonly jwks: string
    readonly register?: string
    readonly revoke?: string
    readonly introspect?: string
    readonly pushed?: string
  }
  /** True where authorization requests must be pushed. */
  readonly requirePushedRequests?: boolean
  readonly resources: readonly Resource[]
  /** True where client ids may be the URLs of metadata documents. */
  readonly clientIdMetadataDocuments?: boolean
  /** The algorithms of the server's own signatures: those of signed introspection answers. */
  readonly signingAlgorithms?: readonly string[]
  /** What `upstream_claims` of its access tokens may hold. */
  readonly upstreamClaims?: readonly string[]
  /** Present where assertions of trusted issuers are taken; `enterprise` where identity assertions are. */
  readonly assertions?: { readonly enterprise: boolean }
  /** The languages of its pages, where there are several. */
  readonly locales?: readonly string[]
  /** True to list the resources. @see RFC 9728 §4 */
  readonly listResources?: boolean
}

/** The authorization server's metadata. @see RFC 8414 §2, RFC 9207 §3 */
export const authorizationServerMetadata = (facts: ServerMetadataFacts) => ({
  // Byte for byte as configured: clients compare it as a string.
  issuer: facts.issuer,
  authorization_endpoint: facts.endpoints.authorize,
  token_endpoint: facts.endpoints.token,
  jwks_uri: facts.endpoints.jwks,
  ...endpoint('registration_endpoint', facts.endpoints.register),
  ...endpoint('pushed_authorization_request_endpoint', facts.endpoints.pushed),
  ...(facts.requirePushedRequests ? { require_pushed_authorization_requests: true } : {}),
  // Of other kinds than pushed ones.
  request_parameter_supported: false,
  request_uri_parameter_supported: false,
  ...endpoint('revocation_endpoint', facts.endpoints.revoke),
  ...(facts.endpoints.revoke ? authentication('revocation') : {}),
  ...endpoint('introspection_endpoint', facts.endpoints.introspect),
  ...(facts.endpoints.introspect ? authentication('introspection') : {}),
  ...(facts.endpoints.introspect && facts.signingAlgorithms
    ? { introspection_signing_alg_values_supported: facts.signingAlgorithms }
    : {}),
  scopes_supported: supportedScopes(facts.resources),
  response_types_supported: ['code'],
  response_modes_supported: ['query'],
  grant_types_supported: [
    ...grantTypes,
    'client_credentials',
    ...(facts.assertions ? [jwtBearerGrantType] : []),
    tokenExchangeGrantType,
  ],
  ...(facts.assertions?.enterprise ? { authorization_grant_profiles_supported: [idJagProfile] } : {}),
  // Some clients look for `none` here before they register.
  ...authentication('token'),
  code_challenge_methods_supported: ['S256'],
  dpop_signing_alg_values_supported: dpopAlgorithms,
  authorization_response_iss_parameter_supported: true,
  ...(facts.clientIdMetadataDocuments ? { client_id_metadata_document_supported: true } : {}),
  ...(facts.locales && facts.locales.length > 1 ? { ui_locales_supported: facts.locales } : {}),
  // Not of a standard: tells verifiers elsewhere what they can build on.
  ...(facts.upstreamClaims ? { upstream_claims_supported: facts.upstreamClaims } : {}),
  ...(facts.listResources ? { protected_resources: facts.resources.map((resource) => resource.identifier) } : {}),
})

/** With a method that signs, the algorithms must be there too (RFC 8414 §2). Who asks what tokens say must prove who it is. */
const authentication = (name: 'token' | 'revocation' | 'introspection') => ({
  [`${name}_endpoint_auth_methods_supported`]: clientAuthenticationMethods.filter(
    (method) => name !== 'introspection' || method !== 'none',
  ),
  [`${name}_endpoint_auth_signing_alg_values_supported`]: clientAssertionAlgorithms,
})

const endpoint = (name: string, url: string | undefined) => (url === undefined ? {} : { [name]: url })

/** Only the default sets: some clients ask for everything that they find here. */
const supportedScopes = (resources: readonly Resource[]): string[] => [
  ...new Set([...resources.flatMap((resource) => resource.defaultScopes), offlineAccess]),
]

/** Where the metadata of an issuer is: the well-known part is put between host and path. @see RFC 8414 §3.1 */
export const metadataPath = (issuer: string): string => {
  const path = new URL(issuer).pathname.replace(/\/$/, '')
  return `/.well-known/oauth-authorization-server${path}`
}

/**
 * Checks an issuer identifier, and answers it unchanged.
 * @throws ConfigurationError for anything but `https` (or loopback `http`) without query and fragment, in its usual form
 * @see RFC 8414 §2
 */
export const checkIssuer = (issuer: string, path = 'url'): string => {
  const url = URL.canParse(issuer) ? new URL(issuer) : undefined
  if (!url) throw new ConfigurationError(path, 'an absolute URL')
  if (!isSecure(url)) throw new ConfigurationError(path, 'https, or http on 127.0.0.1, [::1] or localhost')
  if (url.username !== '' || url.password !== '') throw new ConfigurationError(path, 'a URL without user name')
  if (/[?#]/.test(issuer)) throw new ConfigurationError(path, 'a URL without query and fragment')
  if (issuer !== url.href && `${issuer}/` !== url.href) {
    throw new ConfigurationError(path, `the URL in its usual form, ${JSON.stringify(url.href.replace(/\/$/, ''))}`)
  }
  return issuer
}

const isSecure = (url: URL): boolean =>
  url.protocol === 'https:' || (url.protocol === 'http:' && isLoopbackHost(url.hostname))
