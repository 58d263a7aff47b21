import * as z from 'zod'
import { hashSecret } from '../crypto/hash.ts'
import { jwtBearerGrantType } from '../oauth/assertion.ts'
import { looksLikeClientIdUrl } from '../oauth/client-id-metadata.ts'
import type { ClientKeys } from '../oauth/client-keys.ts'
import { grantTypes as personGrantTypes } from '../oauth/client-metadata.ts'
import { ConfigurationError } from '../oauth/configuration-error.ts'
import { isSecureUrl } from '../oauth/loopback.ts'
import { parseRedirectUri } from '../oauth/redirect-uri.ts'
import { findResource, type Resource } from '../oauth/resource.ts'
import { withImplied } from '../oauth/scope-hierarchy.ts'
import { tokenExchangeGrantType } from '../oauth/token-exchange.ts'
import type { ExchangePolicy } from '../policy/exchange.ts'
import type { Client } from '../records/client.ts'
import { clientIdPrefix } from './client-id.ts'
import { type ExchangeSettings, exchangeSchema } from './exchange-options.ts'

/** A client that the operator knows: people read its name without a warning. */
export interface ClientSettings {
  /** What people read on the consent page. */
  readonly name?: string | undefined
  /** Its web page. */
  readonly uri?: string | undefined
  /** Where people may be sent back to. */
  readonly redirectUris?: readonly string[] | undefined
  /** In place of a secret: its public keys, with which it signs who it is (`private_key_jwt`). */
  readonly jwks?: { readonly keys: readonly object[] } | undefined
  /** As `jwks`, where the client publishes them and may change them itself. `https`, or `http` on loopback. */
  readonly jwksUri?: string | undefined
  /**
   * Default: codes and refresh tokens where there are redirect URIs, `client_credentials` where there are `scopes`, and assertions where their
   * issuers are configured and the client can prove who it is.
   */
  readonly grantTypes?: readonly ClientGrantType[] | undefined
  /** What it may have for itself (`client_credentials`): the path or the URL of a resource, and scopes of it. */
  readonly scopes?: Readonly<Record<string, readonly string[]>> | undefined
  /** Resources that it serves: it may ask what their tokens say (introspection). Paths or URLs. */
  readonly introspects?: readonly string[] | undefined
  /** What it may exchange people's tokens for (token exchange). */
  readonly exchange?: ExchangeSettings | undefined
  /** The id of a client that may act for the people who granted something to this one: their tokens say so (`may_act`). */
  readonly mayAct?: string | undefined
  /** True for a client that proves a key with each request: then it gets no access token without a DPoP proof. */
  readonly dpopBoundAccessTokens?: boolean | undefined
  /** True for a client that sends its authorization requests ahead (RFC 9126): then no others are taken from it. */
  readonly requirePushedRequests?: boolean | undefined
}

/** A client in the configuration. */
export interface ClientOptions extends ClientSettings {
  /** Up to 200 characters of printable ASCII, no URL. */
  readonly id: string
  /** At least 32 characters of randomness. Without a secret it is a public client. */
  readonly secret?: string | undefined
  /** In place of the secret, so that no file has it: its SHA-256, base64url. */
  readonly secretHash?: string | undefined
}

export const clientGrantTypes = [
  ...personGrantTypes,
  'client_credentials',
  jwtBearerGrantType,
  tokenExchangeGrantType,
] as const
export type ClientGrantType = (typeof clientGrantTypes)[number]

const minimumSecret = 32
const texts = z.array(z.string().min(1))

const settings = {
  name: z.string().min(1).max(100).optional(),
  uri: z.url({ protocol: /^https$/ }).optional(),
  jwks: z
    .looseObject({
      keys: z
        .array(z.looseObject({ kty: z.string() }).refine((key) => !('d' in key || 'k' in key), 'public keys alone'))
        .min(1)
        .max(20),
    })
    .optional(),
  jwksUri: z.string().max(2048).refine(isSecureUrl, 'an https URL, or http on loopback').optional(),
  redirectUris: texts.max(32).optional(),
  grantTypes: z.array(z.enum(clientGrantTypes)).min(1).optional(),
  scopes: z.record(z.string(), texts).optional(),
  introspects: texts.min(1).optional(),
  exchange: exchangeSchema.optional(),
  mayAct: z.string().min(1).max(200).optional(),
  dpopBoundAccessTokens: z.boolean().optional(),
  requirePushedRequests: z.boolean().optional(),
}

/** @internal */
export const clientSettingsSchema = z.strictObject(settings)

/** @internal */
export const clientOptionsSchema = z.strictObject({
  ...settings,
  id: z
    .string()
    .max(200)
    .regex(/^[\x21-\x7e]+$/, 'printable ASCII without spaces')
    .refine(
      (id) => !looksLikeClientIdUrl(id) && !id.startsWith(clientIdPrefix),
      `no URL, and not "${clientIdPrefix}…"`,
    ),
  secret: z.string().min(minimumSecret, `at least ${minimumSecret} characters of randomness`).optional(),
  secretHash: z
    .string()
    .regex(/^[\w-]{42}[AEIMQUYcgkosw048]$/, 'the SHA-256 of the secret, base64url')
    .optional(),
})

/** What the settings of a client are checked against. */
export interface ClientSurroundings {
  /** The issuer: paths of resources are on its origin. */
  readonly issuer: string
  readonly resources: readonly Resource[]
  readonly privateSchemes: readonly string[]
  /** Absent where nobody's assertions are taken. */
  readonly assertions?: {
    /** The clients that prove themselves by what their platform says. */
    readonly workloads: ReadonlySet<string>
    /** Whether the provider of an enterprise may say what a client may do for its people. */
    readonly enterprise: boolean
  }
}

/**
 * The clients of the configuration, by id. Configuration is their only home: they are written to no store.
 * @throws ConfigurationError
 */
export const resolveClients = (
  options: readonly ClientOptions[],
  surroundings: ClientSurroundings,
): ReadonlyMap<string, Client> => {
  const clients = new Map<string, Client>()
  for (const [index, { id, secret, secretHash, ...rest }] of options.entries()) {
    const path = `clients[${index}]`
    if (clients.has(id)) throw new ConfigurationError(`${path}.id`, 'each client once')
    if (secret !== undefined && secretHash !== undefined) {
      throw new ConfigurationError(path, 'one of secret and secretHash')
    }
    const hash = secret === undefined ? secretHash : hashSecret(secret)
    clients.set(id, resolveClient({ id, secretHash: hash, createdAt: 0 }, rest, surroundings, path))
  }
  return clients
}

interface ClientIdentity {
  readonly id: string
  readonly secretHash: string | undefined
  /** Milliseconds since the epoch. */
  readonly createdAt: number
}

/**
 * A client as its operator describes it.
 * @param path where the settings are, for what is wrong with them
 * @throws ConfigurationError
 */
export const resolveClient = (
  { id, secretHash, createdAt }: ClientIdentity,
  {
    name,
    uri,
    jwks,
    jwksUri,
    redirectUris = [],
    grantTypes,
    scopes,
    introspects,
    exchange,
    mayAct,
    dpopBoundAccessTokens,
    requirePushedRequests,
  }: ClientSettings,
  surroundings: ClientSurroundings,
  path: string,
): Client => {
  if ([secretHash, jwks, jwksUri].filter((proof) => proof !== undefined).length > 1) {
    throw new ConfigurationError(path, 'one proof: a secret, jwks or jwksUri')
  }
  const keys: ClientKeys | undefined = jwks ? { jwks } : jwksUri === undefined ? undefined : { jwksUri }
  const confidential = secretHash !== undefined || keys !== undefined
  const uris = redirectUris.map((text, index) => checkRedirect(text, surroundings, `${path}.redirectUris[${index}]`))
  const isWorkload = surroundings.assertions?.workloads.has(id) ?? false
  const may = { confidential, isWorkload, enterprise: surroundings.assertions?.enterprise ?? false }
  const types = grantTypes ?? defaultGrantTypes(redirectUris, scopes, exchange, may)
  if (types.includes('authorization_code') && uris.length === 0) {
    throw new ConfigurationError(`${path}.redirectUris`, 'at least one, for authorization codes')
  }
  if (types.includes('refresh_token') && !types.includes('authorization_code')) {
    throw new ConfigurationError(`${path}.grantTypes`, 'authorization_code where there is refresh_token')
  }
  if ((types.includes('client_credentials') || isWorkload) !== (scopes !== undefined)) {
    throw new ConfigurationError(`${path}.scopes`, 'what the client may have, exactly where it acts for itself')
  }
  if (types.includes(tokenExchangeGrantType) !== (exchange !== undefined)) {
    throw new ConfigurationError(
      `${path}.exchange`,
      'what the client may exchange, exactly where it has token exchange',
    )
  }
  const proves = introspects !== undefined || exchange !== undefined
  if (!confidential && ((scopes !== undefined && !isWorkload) || proves)) {
    throw new ConfigurationError(path, 'a secret or keys, since the client acts for itself')
  }
  if (!confidential && types.includes('client_credentials')) {
    throw new ConfigurationError(`${path}.grantTypes`, 'client_credentials only with a secret or keys')
  }
  if (isWorkload && !types.includes(jwtBearerGrantType)) {
    throw new ConfigurationError(`${path}.grantTypes`, `${jwtBearerGrantType} too, since assertions name this client`)
  }
  if (types.includes(jwtBearerGrantType) && !isWorkload && !(confidential && may.enterprise)) {
    throw new ConfigurationError(
      `${path}.grantTypes`,
      `${jwtBearerGrantType} only for clients with a secret or keys, and with an issuer in \`assertions\``,
    )
  }
  if (types.length === 0 && introspects === undefined) {
    throw new ConfigurationError(path, 'redirectUris, scopes, exchange or introspects: else the client can do nothing')
  }
  return {
    id,
    source: 'configured',
    ...(name === undefined ? {} : { name }),
    ...(uri === undefined ? {} : { uri }),
    redirectUris: uris.map(({ text }) => text),
    applicationType: uris.some(({ kind }) => kind !== 'https') ? 'native' : 'web',
    authentication: keys ? 'private_key_jwt' : confidential ? 'client_secret_basic' : 'none',
    ...(secretHash === undefined ? {} : { secretHash }),
    ...(keys === undefined ? {} : { keys }),
    grantTypes: [...new Set(types)],
    ...(dpopBoundAccessTokens ? { dpopBoundAccessTokens } : {}),
    ...(requirePushedRequests ? { requirePushedRequests } : {}),
    ...(scopes === undefined ? {} : { scopes: resolveScopes(scopes, surroundings, `${path}.scopes`) }),
    ...(exchange === undefined ? {} : { exchange: resolveExchange(exchange, surroundings, `${path}.exchange`) }),
    ...(mayAct === undefined ? {} : { mayAct }),
    ...(introspects === undefined
      ? {}
      : {
          introspects: introspects.map(
            (key, index) => resourceAt(key, surroundings, `${path}.introspects[${index}]`).identifier,
          ),
        }),
    createdAt,
  }
}

const defaultGrantTypes = (
  redirectUris: readonly string[],
  scopes: ClientSettings['scopes'],
  exchange: ClientSettings['exchange'],
  may: { readonly confidential: boolean; readonly isWorkload: boolean; readonly enterprise: boolean },
): readonly ClientGrantType[] => [
  ...(redirectUris.length > 0 ? personGrantTypes : []),
  ...(scopes !== undefined && (may.confidential || !may.isWorkload) ? (['client_credentials'] as const) : []),
  ...(may.isWorkload || (may.confidential && may.enterprise) ? ([jwtBearerGrantType] as const) : []),
  ...(exchange === undefined ? [] : ([tokenExchangeGrantType] as const)),
]

const checkRedirect = (text: string, { privateSchemes }: ClientSurroundings, path: string) => {
  const result = parseRedirectUri(text, { privateSchemes })
  if (!result.ok) throw new ConfigurationError(path, `a redirect URI that can be used: ${result.reason}`)
  return result.uri
}

const resolveExchange = (
  { serves = [], from = [], to, actors = [], upstream, impersonates = false }: ExchangeSettings,
  surroundings: ClientSurroundings,
  path: string,
): ExchangePolicy => {
  if (upstream && serves.length === 0) {
    throw new ConfigurationError(`${path}.serves`, 'the resources whose callers’ upstream tokens it may have')
  }
  return {
    serves: serves.map((key, index) => resourceAt(key, surroundings, `${path}.serves[${index}]`).identifier),
    from,
    to: to === undefined ? {} : resolveScopes(to, surroundings, `${path}.to`),
    actors,
    ...(upstream ? { upstream } : {}),
    impersonates,
  }
}

/** Resource to scopes, by the resource's identifier. */
export const resolveScopes = (
  scopes: Readonly<Record<string, readonly string[]>>,
  surroundings: Pick<ClientSurroundings, 'issuer' | 'resources'>,
  path: string,
): Record<string, readonly string[]> => {
  const resolved: Record<string, readonly string[]> = {}
  for (const [key, allowed] of Object.entries(scopes)) {
    const here = `${path}[${JSON.stringify(key)}]`
    const resource = resourceAt(key, surroundings, here)
    const unknown = allowed.find((scope) => !Object.hasOwn(resource.scopes, scope))
    if (unknown !== undefined) throw new ConfigurationError(here, `scopes of this resource, not "${unknown}"`)
    if (Object.hasOwn(resolved, resource.identifier)) throw new ConfigurationError(here, 'each resource once')
    resolved[resource.identifier] = withImplied([...new Set(allowed)], resource.implies)
  }
  if (Object.keys(resolved).length === 0) throw new ConfigurationError(path, 'at least one resource')
  return resolved
}

const resourceAt = (
  key: string,
  { issuer, resources }: Pick<ClientSurroundings, 'issuer' | 'resources'>,
  path: string,
): Resource => {
  const { origin } = new URL(issuer)
  const resource = findResource(resources, key.startsWith('/') ? `${origin}${key}` : key)
  if (resource) return resource
  const known = resources.map(({ identifier }) => identifier).join(', ')
  throw new ConfigurationError(path, `a resource of this server: ${known || 'the configuration names none'}`)
}
