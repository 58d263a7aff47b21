import * as z from 'zod'
import { jwtBearerGrantType } from './assertion.ts'
import { clientAssertionAlgorithms } from './client-assertion.ts'
import { type ClientKeys, hasPrivateKey, readClientKeys } from './client-keys.ts'
import { OAuthError } from './errors.ts'
import { filterRedirectUris, type RedirectUri, type RedirectUriOptions } from './redirect-uri.ts'

export const clientAuthenticationMethods = [
  'none',
  'client_secret_basic',
  'client_secret_post',
  'private_key_jwt',
] as const
export type ClientAuthenticationMethod = (typeof clientAuthenticationMethods)[number]

export const grantTypes = ['authorization_code', 'refresh_token'] as const
export type GrantType = (typeof grantTypes)[number] | typeof jwtBearerGrantType

export interface ClientMetadataOptions extends RedirectUriOptions {
  /** Whether the assertions of an enterprise's provider are taken, from clients that prove who they are. */
  readonly assertions?: boolean
}

/** What a client said about itself, checked. Nothing of it is verified: it is what the client claims. */
export interface ClientMetadata {
  readonly redirectUris: readonly RedirectUri[]
  readonly applicationType: 'web' | 'native'
  readonly tokenEndpointAuthMethod: ClientAuthenticationMethod
  /** What its assertions are signed with. Also beside `none`, of a client that can do both. */
  readonly keys?: ClientKeys
  readonly grantTypes: readonly GrantType[]
  /** Whether it wants bound access tokens, and no others. @see RFC 9449 §5.2 */
  readonly dpopBoundAccessTokens?: boolean
  /** @see RFC 9126 §6 */
  readonly requirePushedRequests?: boolean
  /** One line of at most 100 characters, with nothing in it that is invisible. */
  readonly clientName?: string
  /** Web addresses: `https`, without user name. A page that links them must not load them. */
  readonly clientUri?: string
  readonly logoUri?: string
  readonly tosUri?: string
  readonly policyUri?: string
}

const request = z.object({
  redirect_uris: z.array(z.string()).optional(),
  token_endpoint_auth_method: z.string().optional(),
  token_endpoint_auth_methods_supported: z.array(z.string()).optional().catch(undefined),
  token_endpoint_auth_signing_alg: z.string().optional(),
  jwks: z.unknown().optional(),
  jwks_uri: z.unknown().optional(),
  grant_types: z.array(z.string()).max(32).optional(),
  response_types: z.array(z.string()).max(32).optional(),
  application_type: z.string().optional(),
  dpop_bound_access_tokens: z.boolean().optional(),
  require_pushed_authorization_requests: z.boolean().optional(),
  client_name: z.string().optional(),
  client_uri: z.string().optional().catch(undefined),
  logo_uri: z.string().optional().catch(undefined),
  tos_uri: z.string().optional().catch(undefined),
  policy_uri: z.string().optional().catch(undefined),
  software_statement: z.unknown().optional(),
})

/**
 * Checks the body of a registration request. Members that we don't know, and `scope`, are ignored: what a client may be granted depends on
 * the resource and on the person. Members for display are cleaned or dropped, not refused.
 * @throws OAuthError `invalid_redirect_uri`, `invalid_client_metadata`, `invalid_software_statement`, `unapproved_software_statement`
 * @see RFC 7591 §2
 */
export const parseClientMetadata = (body: unknown, options: ClientMetadataOptions = {}): ClientMetadata => {
  const result = request.safeParse(dropNulls(body))
  if (!result.success) throw refusal(result.error)
  const metadata = result.data
  refuseSoftwareStatement(metadata.software_statement)
  const proof = authentication(metadata)
  const asserted = options.assertions === true && proof.tokenEndpointAuthMethod !== 'none'
  const usable = grantTypesOf(metadata.grant_types, metadata.response_types, asserted)
  const redirectUris = redirectsOf(metadata.redirect_uris, usable, options)
  return {
    redirectUris,
    applicationType: applicationType(metadata.application_type, redirectUris),
    ...proof,
    grantTypes: usable,
    ...(metadata.dpop_bound_access_tokens ? { dpopBoundAccessTokens: true } : {}),
    ...(metadata.require_pushed_authorization_requests ? { requirePushedRequests: true } : {}),
    ...present('clientName', displayName(metadata.client_name)),
    ...present('clientUri', webAddress(metadata.client_uri)),
    ...present('logoUri', webAddress(metadata.logo_uri)),
    ...present('tosUri', webAddress(metadata.tos_uri)),
    ...present('policyUri', webAddress(metadata.policy_uri)),
  }
}

/** Some clients send every member that they know, with null for those they don't set. */
const dropNulls = (body: unknown): unknown =>
  typeof body === 'object' && body !== null && !Array.isArray(body)
    ? Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null))
    : body

const refusal = (error: z.ZodError): OAuthError => {
  const [issue] = error.issues
  const path = issue?.path.map(String).join('.') ?? ''
  const code = path.startsWith('redirect_uris') ? 'invalid_redirect_uri' : 'invalid_client_metadata'
  return new OAuthError(code, `${path || 'the body'}: ${issue?.message ?? 'invalid'}`)
}

const refuseSoftwareStatement = (statement: unknown): void => {
  if (statement === undefined) return
  if (typeof statement !== 'string') {
    throw new OAuthError('invalid_software_statement', 'software_statement must be a JWT')
  }
  // It may be ignored by RFC 7591 §2.3, but then the client believes that what it signed was honoured.
  throw new OAuthError('unapproved_software_statement', 'software statements are not accepted here')
}

const applicationType = (given: string | undefined, uris: readonly RedirectUri[]): 'web' | 'native' => {
  if (given === 'web' || given === 'native') return given
  return uris.some((uri) => uri.kind !== 'https') ? 'native' : 'web'
}

const isAuthenticationMethod = (text: string): text is ClientAuthenticationMethod =>
  clientAuthenticationMethods.some((method) => method === text)

/**
 * RFC 7591 §2 makes `client_secret_basic` the default. A client that prefers another one may list what else it can do; keys are kept only where
 * they may be used.
 */
const authentication = (
  metadata: z.infer<typeof request>,
): Pick<ClientMetadata, 'tokenEndpointAuthMethod' | 'keys'> => {
  const { token_endpoint_auth_method: preferred = 'client_secret_basic' } = metadata
  const methods = [preferred, ...(metadata.token_endpoint_auth_methods_supported ?? [])]
  const keys = methods.includes('private_key_jwt') ? checkedKeys(metadata) : undefined
  const usable = methods.filter((method) => isAuthenticationMethod(method) && (keys || method !== 'private_key_jwt'))
  const method = usable.find(isAuthenticationMethod)
  if (method) {
    return { tokenEndpointAuthMethod: method, ...(keys && !method.startsWith('client_secret') ? { keys } : {}) }
  }
  const expected = methods.includes('private_key_jwt')
    ? 'jwks or jwks_uri: expected, for private_key_jwt'
    : `token_endpoint_auth_method: expected one of ${clientAuthenticationMethods.join(', ')}`
  throw new OAuthError('invalid_client_metadata', expected)
}

const checkedKeys = (metadata: z.infer<typeof request>): ClientKeys | undefined => {
  const refused = (what: string) => new OAuthError('invalid_client_metadata', what)
  const { jwks, jwks_uri: uri, token_endpoint_auth_signing_alg: algorithm } = metadata
  if (algorithm !== undefined && !clientAssertionAlgorithms.some((each) => each === algorithm)) {
    throw refused(`token_endpoint_auth_signing_alg: expected one of ${clientAssertionAlgorithms.join(', ')}`)
  }
  if (jwks !== undefined && uri !== undefined) throw refused('jwks and jwks_uri: expected one of them')
  if (hasPrivateKey(jwks)) throw refused('jwks: a private key, which nobody else may have')
  const keys = readClientKeys({ jwks, jwks_uri: uri })
  if (keys && 'jwks' in keys && keys.jwks.keys.length === 0) throw refused('jwks: expected a key')
  if (!keys && jwks !== undefined) throw refused('jwks: expected a JWK Set')
  if (!keys && uri !== undefined) throw refused('jwks_uri: expected an https URL')
  return keys
}

/** Only who sends no person here needs no way back. */
const redirectsOf = (
  given: readonly string[] | undefined,
  usable: readonly GrantType[],
  options: RedirectUriOptions,
): readonly RedirectUri[] => {
  if (given === undefined && usable.includes('authorization_code')) {
    throw new OAuthError('invalid_redirect_uri', 'redirect_uris: expected an array')
  }
  if ((given ?? []).length === 0 && !usable.includes('authorization_code')) return []
  return filterRedirectUris(given ?? [], options).accepted
}

/**
 * Without a list a client gets refresh tokens; with one, what it asked for and we can do.
 * @param asserted whether it may use assertions
 */
const grantTypesOf = (
  types: readonly string[] = grantTypes,
  responseTypes: readonly string[] = ['code'],
  asserted = false,
): GrantType[] => {
  const usable: GrantType[] = grantTypes.filter((type) => types.includes(type))
  if (asserted && types.includes(jwtBearerGrantType)) {
    if (!usable.includes('authorization_code')) return [jwtBearerGrantType]
    usable.push(jwtBearerGrantType)
  }
  if (!usable.includes('authorization_code')) {
    throw new OAuthError('invalid_client_metadata', 'grant_types: expected authorization_code among them')
  }
  if (!responseTypes.includes('code')) {
    throw new OAuthError('invalid_client_metadata', 'response_types: expected code among them')
  }
  return usable
}

/** People decide by this name: what they can't see must not be in it, and it must not push the rest off the page. */
const displayName = (text: string | undefined): string | undefined => {
  const visible = [
    ...(text ?? '')
      .slice(0, 2048)
      .normalize('NFC')
      .replace(/[\p{Z}\p{Cc}]+/gu, ' ')
      .replace(/\p{C}/gu, '')
      // A pile of accents would cover the lines around it.
      .replace(/(\p{M}{3})\p{M}+/gu, '$1')
      .trim(),
  ]
  if (visible.length === 0) return undefined
  return visible.length > 100 ? `${visible.slice(0, 99).join('')}…` : visible.join('')
}

const webAddress = (text: string | undefined): string | undefined => {
  if (text === undefined || text.length > 2048 || !URL.canParse(text)) return undefined
  const url = new URL(text)
  return url.protocol === 'https:' && url.username === '' && url.password === '' ? url.href : undefined
}

const present = <Name extends keyof ClientMetadata>(
  name: Name,
  value: ClientMetadata[Name] | undefined,
): { readonly [Key in Name]?: ClientMetadata[Name] } =>
  (value === undefined ? {} : { [name]: value }) as { readonly [Key in Name]?: ClientMetadata[Name] }

export interface RegisteredClient {
  readonly clientId: string
  /** Where the client has one; it never expires. */
  readonly clientSecret?: string
  /** Seconds since the epoch. */
  readonly issuedAt: number
  /** Where the client manages its registration, and with what. @see RFC 7592 §3 */
  readonly management?: { readonly uri: string; readonly token: string }
  readonly metadata: Omit<ClientMetadata, 'redirectUris'> & {
    readonly redirectUris: readonly { readonly text: string }[]
  }
}

/** The body of the answer to a registration: what was registered, not what was asked for. @see RFC 7591 §3.2.1 */
export const clientInformationResponse = ({
  clientId,
  clientSecret,
  issuedAt,
  management,
  metadata,
}: RegisteredClient) => ({
  client_id: clientId,
  client_id_issued_at: issuedAt,
  // Zero is "never": several clients can't recover from a secret that expired.
  ...(clientSecret === undefined ? {} : { client_secret: clientSecret, client_secret_expires_at: 0 }),
  ...(management === undefined
    ? {}
    : { registration_client_uri: management.uri, registration_access_token: management.token }),
  redirect_uris: metadata.redirectUris.map((uri) => uri.text),
  token_endpoint_auth_method: metadata.tokenEndpointAuthMethod,
  ...(metadata.keys === undefined
    ? {}
    : 'jwks' in metadata.keys
      ? { jwks: metadata.keys.jwks }
      : { jwks_uri: metadata.keys.jwksUri }),
  grant_types: metadata.grantTypes,
  response_types: ['code'],
  application_type: metadata.applicationType,
  ...(metadata.dpopBoundAccessTokens ? { dpop_bound_access_tokens: true } : {}),
  ...(metadata.requirePushedRequests ? { require_pushed_authorization_requests: true } : {}),
  ...(metadata.clientName === undefined ? {} : { client_name: metadata.clientName }),
  ...(metadata.clientUri === undefined ? {} : { client_uri: metadata.clientUri }),
  ...(metadata.logoUri === undefined ? {} : { logo_uri: metadata.logoUri }),
  ...(metadata.tosUri === undefined ? {} : { tos_uri: metadata.tosUri }),
  ...(metadata.policyUri === undefined ? {} : { policy_uri: metadata.policyUri }),
})
