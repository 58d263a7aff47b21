import * as z from 'zod'
import { jwtBearerGrantType } from './assertion.ts'
import { type ClientKeys, hasPrivateKey, readClientKeys } from './client-keys.ts'
import {
  type ClientMetadata,
  type ClientMetadataOptions,
  type GrantType,
  parseClientMetadata,
} from './client-metadata.ts'
import { OAuthError } from './errors.ts'
import { isLoopbackHost } from './loopback.ts'

declare const checked: unique symbol

/** A client id that is the address of the client's metadata document. Made by `parseClientIdUrl` alone. */
export interface ClientIdUrl {
  readonly [checked]: true
  /** Exactly as the client writes it: client ids are compared as strings. */
  readonly text: string
  /** Whose document it is: `app.example.com`, with the port where it is not the usual one. International names are in their ASCII form. */
  readonly domain: string
  /** The domain without port. */
  readonly hostname: string
}

export type ClientIdUrlResult =
  | { readonly ok: true; readonly url: ClientIdUrl }
  | { readonly ok: false; readonly reason: string }

/** Every token carries its client's id in a header. */
const maximumLength = 512

/** Whether a client id claims to be an address: none that this server makes does. */
export const looksLikeClientIdUrl = (clientId: string): boolean => /^https?:/i.test(clientId)

/**
 * Checks a client id that is a URL: `https`, a host with a domain name, a path. It must be written in its usual form, so that all who read it
 * read the same, and so that what is fetched is what was sent.
 * @param options.loopback for development: this computer may be named too, also by `http`
 * @see draft-ietf-oauth-client-id-metadata-document §3
 */
export const parseClientIdUrl = (text: string, options: { readonly loopback?: boolean } = {}): ClientIdUrlResult => {
  const refused = (reason: string): ClientIdUrlResult => ({ ok: false, reason })
  if (text.length > maximumLength) return refused(`it is longer than ${maximumLength} characters`)
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url) return refused('it is not a URL')
  const local = options.loopback === true && isLoopbackHost(url.hostname)
  if (url.protocol !== 'https:' && !(local && url.protocol === 'http:')) return refused('it is not https')
  if (text.includes('#')) return refused('it has a fragment')
  if (url.username !== '' || url.password !== '') return refused('it has a user name in it')
  // Dot segments, capital letters in the host, a default port, spaces: the parser takes them away.
  if (url.href !== text || text.includes('@')) return refused('it is not written in its usual form')
  if (url.pathname === '/') return refused('it has no path')
  if (!local && !isDomainName(url.hostname)) return refused('its host is not a domain name')
  const { host: domain, hostname } = url
  return { ok: true, url: Object.freeze({ text, domain, hostname }) as ClientIdUrl }
}

/** Of two labels or more, the last of which is no number: neither an address nor a name that only some network knows. */
const isDomainName = (hostname: string): boolean =>
  /^(?:[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$/.test(hostname)

export interface ClientIdMetadata extends Omit<ClientMetadata, 'tokenEndpointAuthMethod'> {
  readonly clientName: string
  /** `none` also where the client could do more: then its assertions are verified, but not required. */
  readonly tokenEndpointAuthMethod: 'none' | 'private_key_jwt'
  /** Where the public keys are that its assertions are signed with. */
  readonly keys?: ClientKeys
}

export type ClientIdDocumentResult =
  | { readonly ok: true; readonly metadata: ClientIdMetadata }
  /** May quote the document: for the operator. */
  | { readonly ok: false; readonly reason: string }

const shape = z.looseObject({
  client_id: z.string(),
  client_name: z.string(),
  redirect_uris: z.array(z.string()).min(1),
  token_endpoint_auth_method: z.string().nullish(),
  token_endpoint_auth_methods_supported: z.array(z.string()).nullish().catch(undefined),
})

/**
 * Checks a client's metadata document. The rest of its members is read as those of a registration; what we don't know is ignored.
 * @param document parsed JSON
 * @see draft-ietf-oauth-client-id-metadata-document §4
 */
export const parseClientIdDocument = (
  url: ClientIdUrl,
  document: unknown,
  { assertions = false, ...options }: ClientMetadataOptions = {},
): ClientIdDocumentResult => {
  const refused = (reason: string): ClientIdDocumentResult => ({ ok: false, reason })
  const { data, error } = shape.safeParse(document)
  if (!data) {
    const [issue] = error.issues
    return refused(`${issue?.path.map(String).join('.') || 'the document'}: ${issue?.message ?? 'invalid'}`)
  }
  if (data.client_id !== url.text) return refused('client_id: expected the URL of the document')
  const secret = secretMember(data)
  if (secret !== undefined) return refused(`${secret}: a document that all can read must not have it`)
  const { token_endpoint_auth_method: preferred, token_endpoint_auth_methods_supported: others } = data
  if (preferred?.startsWith('client_secret')) {
    return refused('token_endpoint_auth_method: there is no secret that both sides could know')
  }
  // Not `client_secret_basic`, which a registration has by default.
  const methods = [preferred ?? 'none', ...(others ?? [])]
  const keys = methods.includes('private_key_jwt') ? readClientKeys(data) : undefined
  const method = methods.includes('none') ? 'none' : keys && 'private_key_jwt'
  if (method === undefined) {
    return refused('token_endpoint_auth_method: expected none, or private_key_jwt with jwks or an https jwks_uri')
  }
  const { software_statement: _ignored, token_endpoint_auth_methods_supported: _read, ...members } = data
  try {
    const { clientName, ...metadata } = parseClientMetadata({ ...members, token_endpoint_auth_method: 'none' }, options)
    if (clientName === undefined) return refused('client_name: expected a name that people can read')
    const asks = Array.isArray(data.grant_types) && data.grant_types.includes(jwtBearerGrantType)
    const asserted = assertions && keys !== undefined && asks
    const grantTypes: readonly GrantType[] = asserted
      ? [...metadata.grantTypes, jwtBearerGrantType]
      : metadata.grantTypes
    return {
      ok: true,
      metadata: {
        ...metadata,
        clientName,
        grantTypes,
        tokenEndpointAuthMethod: method,
        ...(keys === undefined ? {} : { keys }),
      },
    }
  } catch (error) {
    if (error instanceof OAuthError) return refused(error.description)
    throw error
  }
}

/** @see draft-ietf-oauth-client-id-metadata-document §4.1 */
const secretMember = (document: Readonly<Record<string, unknown>>): string | undefined => {
  const member = ['client_secret', 'client_secret_expires_at'].find((name) => document[name] != null)
  return member ?? (hasPrivateKey(document.jwks) ? 'jwks: a private key' : undefined)
}

export interface DomainRules {
  /** If there is any, only these domains. `example.com` is that domain alone, `*.example.com` all below it. */
  readonly allow?: readonly string[]
  /** Never these, whatever `allow` says. */
  readonly deny?: readonly string[]
}

export const isDomainAllowed = ({ allow, deny = [] }: DomainRules, hostname: string): boolean =>
  !deny.some((rule) => matchesDomain(rule, hostname)) &&
  (allow === undefined || allow.some((rule) => matchesDomain(rule, hostname)))

const matchesDomain = (rule: string, hostname: string): boolean =>
  rule.startsWith('*.') ? hostname.endsWith(rule.slice(1)) : hostname === rule

/** A rule in the form that is compared: a lower-case ASCII domain name, or `*.` and one. */
export const isDomainRule = (text: string): boolean => isDomainName(text.replace(/^\*\./, '')) || isLoopbackHost(text)
