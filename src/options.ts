import * as z from 'zod'
import { type AssertionIssuerOptions, assertionIssuersSchema } from './authorization-server/assertion-options.ts'
import { type ClientOptions, clientOptionsSchema } from './authorization-server/client-options.ts'
import {
  defaultLifetimes,
  type Lifetimes,
  type Limits,
  type RegistrationPolicy,
} from './authorization-server/context.ts'
import type { SigningAlgorithm } from './crypto/signing-algorithm.ts'
import type { AuditSink } from './events/audit.ts'
import type { AuditLog } from './events/audit-log.ts'
import type { Clock } from './events/clock.ts'
import type { Logger } from './events/logger.ts'
import type { Random } from './events/random.ts'
import type { Telemetry } from './events/telemetry.ts'
import { type Branding, brandingSchema } from './http/branding.ts'
import type { HealthPaths } from './http/health.ts'
import { checkInstances } from './instance-checks.ts'
import { type KeyRotationOptions, keyRotationSchema, type SigningKeys, signingSchema } from './keys/key-options.ts'
import { minimumSecretLength } from './keys/secret.ts'
import { checkPolicy } from './mcp/policy/check.ts'
import { parseBlock } from './net/address.ts'
import { type DomainRules, isDomainRule } from './oauth/client-id-metadata.ts'
import { ConfigurationError } from './oauth/configuration-error.ts'
import { isLoopbackHost } from './oauth/loopback.ts'
import type { ResourceOptions } from './oauth/resource.ts'
import { checkBySchema, protectedResourceSchema } from './option-checks.ts'
import type { ProtectionOptions } from './protection.ts'
import type { Store } from './store/store.ts'
import type { Provider } from './upstream/provider.ts'

/** A protected resource: what it is, and what each call needs. */
export interface ProtectedResourceOptions extends ResourceOptions, ProtectionOptions {}

/** Which client ids that are URLs of metadata documents are taken. A rule is a domain name, or `*.` and one for all below it. */
export interface ClientMetadataDocumentOptions extends DomainRules {
  /** For development, with a `url` on loopback: documents of this computer are read too, also by `http`. */
  readonly loopback?: boolean
}

export interface RegistrationOptions extends Partial<Omit<RegistrationPolicy, 'initialAccessTokens'>> {
  /** Then only who brings it, or one of the list, may register: 32 characters or more of randomness. */
  readonly initialAccessToken?: string | readonly string[] | undefined
}

/** What can be written in a file. */
export interface Config {
  /** The issuer, byte for byte: where this server is reached, `https`, or `http` on loopback. Never taken from a request. */
  readonly url: string
  /**
   * What seals the keys in the store: 32 characters or more of randomness; or a list, while one replaces another: each opens them. On loopback it may be left out: then one is made and kept beside the database.
   */
  readonly secret?: string | readonly [string, ...string[]] | undefined
  /** By absolute path on the origin of `url`, or by absolute URL. */
  readonly resources: Readonly<Record<string, ProtectedResourceOptions>>
  /** What `sub` is: a random id (default), or the provider's own, which is allowed with exactly one provider and can't be changed later. */
  readonly subject?: 'random' | 'upstream' | undefined
  /** The claims of the provider that access tokens carry in `upstream_claims`, besides `iss` and `sub`: clients can read them. Handlers get all in any case. */
  readonly tokenClaims?: readonly string[] | undefined
  /** With several providers: where the people of an e-mail domain sign in, by the provider's id. Others choose. */
  readonly emailDomains?: Readonly<Record<string, string>> | undefined
  /** What pages look like. */
  readonly branding?: Branding | undefined
  /** Seconds. */
  readonly lifetimes?: Partial<Lifetimes> | undefined
  /** Limits on dynamic registration: registrations in an hour. */
  readonly registration?: RegistrationOptions | undefined
  /** How often in ten minutes a client, an address or an account may do what costs something. */
  readonly limits?: Limits | undefined
  /** True to take only authorization requests that clients have sent ahead (RFC 9126). Few MCP clients do. */
  readonly requirePushedRequests?: boolean | undefined
  /** Clients that you know: people read their names without a warning. */
  readonly clients?: readonly ClientOptions[] | undefined
  /** Client ID Metadata Documents, which clients publish in place of registering. Of every domain, unless it is said; `false` for none. */
  readonly clientMetadataDocuments?: ClientMetadataDocumentOptions | false | undefined
  /** Whose signed word is taken in place of a sign-in: an enterprise's provider for its people, a platform for its workloads. */
  readonly assertions?: readonly AssertionIssuerOptions[] | undefined
  /**
   * Addresses and blocks (`10.0.0.0/8`) of the proxies in front, that append to `X-Forwarded-For`. Without it all that comes through a proxy
   * counts as one address in the limits.
   */
  readonly trustedProxies?: readonly string[] | undefined
  /** Where probes are answered: `/healthz` and `/readyz`, unless it is said; `false` for nowhere. */
  readonly health?: HealthPaths | false | undefined
  /** Private-use redirect schemes that are allowed besides those of known clients, without the colon. */
  readonly privateSchemes?: readonly string[] | undefined
  /** How access tokens are signed: by keys that the server makes itself, of this algorithm (default ES256), or by keys of your own. */
  readonly signing?: SigningAlgorithm | SigningKeys | undefined
  /**
   * After a backup was restored: until then (a date and time with its offset, as ISO 8601 has it) refresh tokens are taken that are newer than the
   * store knows, by up to `ahead` refreshes (default 1,000). Two are always taken.
   */
  readonly restored?: { readonly until: string; readonly ahead?: number | undefined } | undefined
  /** When the server makes its keys anew. */
  readonly keyRotation?: KeyRotationOptions | undefined
  /** True: DPoP proofs must bring a nonce of this server's, so that none can be made long before it is used. It costs clients one request more a minute. */
  readonly dpopNonces?: boolean | undefined
}

export interface Options<Claims> extends Config {
  /** Where people sign in: one provider or several; without it, local accounts. */
  readonly upstream?: Provider<Claims> | readonly Provider<Claims>[] | undefined
  /** Without it: SQLite, in the folder `.countersign`. */
  readonly store?: Store | undefined
  /** Receives every audit event: a function, a log that keeps them (`countersign/audit/…`), or several. Without it they go to the logger. */
  readonly audit?: AuditSink | AuditLog | readonly (AuditSink | AuditLog)[] | undefined
  /** What is measured goes there: `prometheus()`, `openTelemetry()`, or several. Without it nothing is measured. */
  readonly telemetry?: Telemetry | readonly Telemetry[] | undefined
  /** Silent by default. */
  readonly logger?: Logger | undefined
  readonly clock?: Clock | undefined
  readonly random?: Random | undefined
  /** For requests to providers. */
  readonly fetch?: typeof fetch | undefined
}

const isBlock = (text: string): boolean => {
  try {
    return parseBlock(text).bits >= 0
  } catch {
    return false
  }
}

const seconds = z.number().int().positive()
const limit = z.number().int().nonnegative()
const domainRule = z.string().refine(isDomainRule, 'a domain name in lower-case ASCII, or "*." and one')
const documentRules = z.strictObject({
  allow: z.array(domainRule).optional(),
  deny: z.array(domainRule).optional(),
  loopback: z.boolean().optional(),
})
const path = z.string().regex(/^\/[!-~]*$/, 'an absolute path')
const healthSchema = z.strictObject({ live: path.optional(), ready: path.optional() })
const words = z.array(z.string().min(1))
const secret = z.string().min(minimumSecretLength, `at least ${minimumSecretLength} characters of randomness`)

const bearer = secret.regex(/^[\w.~+/-]+=*$/, 'letters, digits and -._~+/, as a Bearer token may have')

const lifetimesSchema = z.strictObject(
  Object.fromEntries(Object.keys(defaultLifetimes).map((name) => [name, seconds.optional()])),
)

const resourceSchema = z.strictObject(protectedResourceSchema)

const configSchema = z.strictObject({
  url: z.string(),
  secret: z.union([secret, z.array(secret).min(1)]).optional(),
  resources: z.record(z.string(), resourceSchema).refine((all) => Object.keys(all).length > 0, 'at least one resource'),
  subject: z.enum(['random', 'upstream']).optional(),
  tokenClaims: words.optional(),
  emailDomains: z.record(z.string(), z.string()).optional(),
  branding: brandingSchema.optional(),
  lifetimes: lifetimesSchema.optional(),
  limits: z
    .strictObject({
      tokensPerClient: limit.optional(),
      requestsPerAddress: limit.optional(),
      codesPerAccount: limit.optional(),
    })
    .optional(),
  registration: z
    .strictObject({
      perAddress: limit.optional(),
      total: limit.optional(),
      initialAccessToken: z.union([bearer, z.array(bearer).min(1)]).optional(),
    })
    .optional(),
  requirePushedRequests: z.boolean().optional(),
  clients: z.array(clientOptionsSchema).optional(),
  assertions: assertionIssuersSchema.optional(),
  clientMetadataDocuments: z.union([documentRules, z.literal(false)], 'rules for domains, or false').optional(),
  trustedProxies: z.array(z.string().refine(isBlock, 'expected addresses or blocks like "10.0.0.0/8"')).optional(),
  privateSchemes: words.optional(),
  health: z.union([healthSchema, z.literal(false)], 'paths for `live` and `ready`, or false').optional(),
  signing: signingSchema,
  keyRotation: keyRotationSchema.optional(),
  restored: z
    .strictObject({ until: z.iso.datetime({ offset: true }), ahead: seconds.max(1_000_000).optional() })
    .optional(),
  dpopNonces: z.boolean().optional(),
})

const instances = ['telemetry', 'upstream', 'store', 'audit', 'logger', 'clock', 'random', 'fetch']

/** @throws ConfigurationError naming the first wrong value, and what was expected there */
export const checkOptions = <Claims>(options: Options<Claims>): void => {
  const data = Object.fromEntries(
    Object.entries(options).filter(([name, value]) => !instances.includes(name) && value !== undefined),
  )
  checkBySchema(configSchema, data)
  checkInstances(options)
  checkRequirements(options)
  checkEmailDomains(options)
  checkVaults(options)
  checkExposure(options)
}

/** A call that needs a scope which nobody can be granted would be refused for ever. */
const checkRequirements = ({ resources }: Options<unknown>): void => {
  for (const [path, { scopes = {}, ...policy }] of Object.entries(resources)) {
    checkPolicy(policy, Object.keys(scopes), `resources[${JSON.stringify(path)}]`)
  }
}

const providerIdsOf = <Claims>({ upstream = [] }: Options<Claims>): readonly string[] =>
  ('open' in upstream ? [upstream] : upstream).map(({ id }) => id)

/** The tokens of a provider that there is not are given to nobody. */
const checkVaults = <Claims>(options: Options<Claims>): void => {
  const ids = providerIdsOf(options)
  for (const [at, { exchange }] of (options.clients ?? []).entries()) {
    for (const [nth, id] of (exchange?.upstream ?? []).entries()) {
      if (ids.includes(id)) continue
      throw new ConfigurationError(
        `clients[${at}].exchange.upstream[${nth}]`,
        `one of the providers (${ids.join(', ')})`,
      )
    }
  }
}

const checkEmailDomains = <Claims>(options: Options<Claims>): void => {
  const { emailDomains = {} } = options
  const ids = providerIdsOf(options)
  for (const [domain, id] of Object.entries(emailDomains)) {
    const here = `emailDomains[${JSON.stringify(domain)}]`
    if (!/^[a-z0-9-]+(\.[a-z0-9-]+)+$/.test(domain)) throw new ConfigurationError(here, 'a domain in lower case')
    if (!ids.includes(id)) throw new ConfigurationError(here, `one of the providers (${ids.join(', ')})`)
  }
}

/** On loopback everything works without configuration; what others can reach must not be weak. */
const checkExposure = ({ url, secret, store, clientMetadataDocuments }: Options<unknown>): void => {
  if (isLoopbackHost(new URL(url).hostname)) return
  if (secret === undefined) throw new ConfigurationError('secret', 'a secret, since `url` is not on loopback')
  if (clientMetadataDocuments !== false && clientMetadataDocuments?.loopback) {
    throw new ConfigurationError('clientMetadataDocuments.loopback', 'false, since `url` is not on loopback')
  }
  if (store?.location.kind === 'process') {
    throw new ConfigurationError('store', 'a store that outlives the process, since `url` is not on loopback')
  }
}
