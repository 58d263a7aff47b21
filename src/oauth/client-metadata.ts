import { z } from 'zod'
import { OAuthError } from './errors.ts'
import { filterRedirectUris, type RedirectUri, type RedirectUriOptions } from './redirect-uri.ts'

export const clientAuthenticationMethods = ['none', 'client_secret_basic', 'client_secret_post'] as const
export type ClientAuthenticationMethod = (typeof clientAuthenticationMethods)[number]

export const grantTypes = ['authorization_code', 'refresh_token'] as const
export type GrantType = (typeof grantTypes)[number]

/** What a client said about itself, checked. Nothing of it is verified: it is what the client claims. */
export interface ClientMetadata {
  readonly redirectUris: readonly RedirectUri[]
  readonly applicationType: 'web' | 'native'
  readonly tokenEndpointAuthMethod: ClientAuthenticationMethod
  readonly grantTypes: readonly GrantType[]
  /** One line of at most 100 characters, with nothing in it that is invisible. */
  readonly clientName?: string
  /** Web addresses: `https`, without user name. A page that links them must not load them. */
  readonly clientUri?: string
  readonly logoUri?: string
  readonly tosUri?: string
  readonly policyUri?: string
}

const request = z.object({
  redirect_uris: z.array(z.string()),
  token_endpoint_auth_method: z.string().optional(),
  token_endpoint_auth_methods_supported: z.array(z.string()).optional().catch(undefined),
  grant_types: z.array(z.string()).max(32).optional(),
  response_types: z.array(z.string()).max(32).optional(),
  application_type: z.string().optional(),
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
export const parseClientMetadata = (body: unknown, options: RedirectUriOptions = {}): ClientMetadata => {
  const result = request.safeParse(dropNulls(body))
  if (!result.success) throw refusal(result.error)
  const metadata = result.data
  refuseSoftwareStatement(metadata.software_statement)
  const { accepted: redirectUris } = filterRedirectUris(metadata.redirect_uris, options)
  return {
    redirectUris,
    applicationType: applicationType(metadata.application_type, redirectUris),
    tokenEndpointAuthMethod: authenticationMethod(
      metadata.token_endpoint_auth_method,
      metadata.token_endpoint_auth_methods_supported,
    ),
    grantTypes: grantTypesOf(metadata.grant_types, metadata.response_types),
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

/** RFC 7591 §2 makes `client_secret_basic` the default. A client that prefers another one may list what else it can do. */
const authenticationMethod = (
  preferred = 'client_secret_basic',
  others: readonly string[] = [],
): ClientAuthenticationMethod => {
  const method = [preferred, ...others].find(isAuthenticationMethod)
  if (method) return method
  throw new OAuthError(
    'invalid_client_metadata',
    `token_endpoint_auth_method: expected one of ${clientAuthenticationMethods.join(', ')}`,
  )
}

/** Without a list a client gets refresh tokens; with one, what it asked for and we can do. */
const grantTypesOf = (
  types: readonly string[] = grantTypes,
  responseTypes: readonly string[] = ['code'],
): GrantType[] => {
  const usable = grantTypes.filter((type) => types.includes(type))
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
      .replace(/\p{C}+/gu, '')
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
  readonly metadata: ClientMetadata
}

/** The body of the answer to a registration: what was registered, not what was asked for. @see RFC 7591 §3.2.1 */
export const clientInformationResponse = ({ clientId, clientSecret, issuedAt, metadata }: RegisteredClient) => ({
  client_id: clientId,
  client_id_issued_at: issuedAt,
  // Zero is "never": several clients can't recover from a secret that expired.
  ...(clientSecret === undefined ? {} : { client_secret: clientSecret, client_secret_expires_at: 0 }),
  redirect_uris: metadata.redirectUris.map((uri) => uri.text),
  token_endpoint_auth_method: metadata.tokenEndpointAuthMethod,
  grant_types: metadata.grantTypes,
  response_types: ['code'],
  application_type: metadata.applicationType,
  ...(metadata.clientName === undefined ? {} : { client_name: metadata.clientName }),
  ...(metadata.clientUri === undefined ? {} : { client_uri: metadata.clientUri }),
  ...(metadata.logoUri === undefined ? {} : { logo_uri: metadata.logoUri }),
  ...(metadata.tosUri === undefined ? {} : { tos_uri: metadata.tosUri }),
  ...(metadata.policyUri === undefined ? {} : { policy_uri: metadata.policyUri }),
})
