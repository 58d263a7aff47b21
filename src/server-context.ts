import { createAssertionKeyLookup } from './authorization-server/assertion-keys.ts'
import type { TrustedIssuers } from './authorization-server/assertion-options.ts'
import { createClientKeyLookup } from './authorization-server/client-keys.ts'
import { createClientMetadataDocuments } from './authorization-server/client-metadata-documents.ts'
import {
  defaultLifetimes,
  defaultRegistrationPolicy,
  type Endpoints,
  type RegistrationPolicy,
  type ServerContext,
} from './authorization-server/context.ts'
import { createOperatorFetch } from './authorization-server/operator-fetch.ts'
import { createServerDpop } from './authorization-server/server-dpop.ts'
import { hashSecret } from './crypto/hash.ts'
import type { Audit, AuditEvent, AuditSink } from './events/audit.ts'
import type { AuditLog } from './events/audit-log.ts'
import { type Clock, systemClock } from './events/clock.ts'
import { jsonLine } from './events/json-line.ts'
import { type Logger, silentLogger } from './events/logger.ts'
import { type Random, systemRandom } from './events/random.ts'
import { recordIn } from './events/record.ts'
import type { GuardedFetch } from './net/guarded-fetch.ts'
import type { Resource } from './oauth/resource.ts'
import type { Options } from './options.ts'
import type { Client } from './records/client.ts'
import { createRecords, type Records } from './records/records.ts'
import { openServerKeys } from './server-keys.ts'
import type { Store } from './store/store.ts'
import { createAccounts } from './upstream/accounts.ts'
import { createCustody } from './upstream/custody.ts'
import type { NamedProvider, Provider } from './upstream/provider.ts'

/** The options with every choice made; nothing was opened yet. */
export interface Parts {
  readonly options: Options<unknown>
  readonly resources: readonly Resource[]
  readonly providers: readonly Provider<unknown>[]
  readonly store: Store
  readonly endpoints: Endpoints
  readonly configuredClients: ReadonlyMap<string, Client>
  /** Absent where nobody's assertions are taken. */
  readonly trusted: TrustedIssuers | undefined
  /** `administrator`: nothing is made or changed by opening it, and what must be done at providers is left to the servers. Default: `server`. */
  readonly role?: 'server' | 'administrator'
  readonly logger: Logger
  readonly audit: Audit
}

/**
 * Opens the key ring and the providers, and checks that the store fits the configuration.
 * @throws StoreUnavailable, KeyRingUnreadable, SubjectModeRefused; it may be called again
 */
export const createServerContext = async (parts: Parts): Promise<ServerContext> => {
  const { options, resources, store, logger, audit } = parts
  const { clock = systemClock, random = systemRandom, url } = options
  const keys = await openServerKeys(parts)
  const records = createRecords(store, keys)
  const upstream = { issuer: url, records, clock, random, audit, logger, fetch: options.fetch ?? globalThis.fetch }
  const providers = parts.providers.map((provider): NamedProvider => ({ ...provider, open: provider.open(upstream) }))
  const lifetimes = { ...defaultLifetimes, ...options.lifetimes }
  const trusted = [...(parts.trusted?.issuers.values() ?? [])]
  const vouchers = trusted.flatMap(({ provider: id }) => (providers.some((each) => each.id === id) ? [] : [{ id }]))
  const knownByEmail = new Set(
    trusted.flatMap((each) => (each.kind === 'enterprise' && each.linkByEmail ? [each.linkByEmail.provider] : [])),
  )
  const subject = options.subject ?? 'random'
  const accounts = createAccounts(upstream, { subject, providers, vouchers, knownByEmail })
  if (parts.role !== 'administrator') await accounts.checkSubjectMode()
  return {
    issuer: url,
    endpoints: parts.endpoints,
    resources,
    providers,
    locales: [...new Set(['en', ...Object.keys(options.branding?.languages ?? {})])],
    emailDomains: new Map(Object.entries(options.emailDomains ?? {})),
    accounts,
    // A grant may be made at the end of a browser session, and must not outlive what it stands on.
    custody: createCustody(upstream, [...providers, ...vouchers], {
      lifetime: (lifetimes.browserSession + lifetimes.grant) * 1000 + day,
    }),
    records,
    keys,
    dpop: createServerDpop({ records, keys, clock }, options.dpopNonces),
    lifetimes,
    registration: registrationOf(options),
    ...(options.limits && { limits: options.limits }),
    ...(options.requirePushedRequests ? { requirePushedRequests: true } : {}),
    ...(options.restored && {
      restored: { ahead: options.restored.ahead ?? 1_000, until: Date.parse(options.restored.until) },
    }),
    configuredClients: parts.configuredClients,
    knownClientKeys: createClientKeyLookup(createOperatorFetch(upstream.fetch)),
    ...documentsOf(parts, records, clock, random),
    ...(parts.trusted && { assertions: { ...parts.trusted, keysOf: createAssertionKeyLookup(upstream.fetch, clock) } }),
    privateSchemes: options.privateSchemes ?? [],
    tokenClaims: options.tokenClaims ?? [],
    audit,
    clock,
    random,
    logger,
  }
}

const registrationOf = ({ registration = {} }: Options<unknown>): RegistrationPolicy => {
  const { initialAccessToken, ...limits } = registration
  const initialAccessTokens = initialAccessToken === undefined ? undefined : [initialAccessToken].flat().map(hashSecret)
  return { ...defaultRegistrationPolicy, ...limits, ...(initialAccessTokens && { initialAccessTokens }) }
}

const documentsOf = (
  { options, trusted, audit, logger }: Parts,
  records: Records,
  clock: Clock,
  random: Random,
): Pick<ServerContext, 'clientMetadataDocuments'> => {
  const { clientMetadataDocuments: rules = {}, privateSchemes = [] } = options
  if (!rules) return {}
  // Not the fetch for providers: whom that may ask, the operator says; whom this one asks, strangers do.
  // Loaded when a stranger first names a document: TLS takes long to load, and most servers start without it.
  const newFetch = (): GuardedFetch => {
    const load = once(async () =>
      (await import('./net/guarded-fetch.ts')).createGuardedFetch({ loopback: rules.loopback ?? false, clock }),
    )
    return async (url, headers) => (await load())(url, headers)
  }
  return {
    clientMetadataDocuments: createClientMetadataDocuments({
      records,
      random,
      audit,
      logger,
      newFetch,
      privateSchemes,
      assertions: trusted?.enterprise ?? false,
      rules,
    }),
  }
}

/** The endpoints of an issuer. */
export const endpointsBelow = (issuer: string): Endpoints => {
  const base = issuer.endsWith('/') ? issuer.slice(0, -1) : issuer
  return {
    authorize: `${base}/authorize`,
    token: `${base}/token`,
    pushed: `${base}/par`,
    register: `${base}/register`,
    revoke: `${base}/revoke`,
    introspect: `${base}/introspect`,
    jwks: `${base}/jwks`,
    consent: `${base}/authorize/consent`,
    signIn: `${base}/authorize/sign-in`,
    account: `${base}/authorize/account`,
    callback: `${base}/authorize/callback`,
    logout: `${base}/authorize/logout`,
  }
}

const day = 86_400_000

const once = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

/** Where events go: to the operator's sinks; else to the logger, or as lines to standard error. */
export const createAudit = ({ audit: sink, clock = systemClock }: Options<unknown>, logger: Logger): Audit => {
  const usual = logger === silentLogger ? toStandardError : (event: AuditEvent) => logger.info(event.type, event)
  const sinks = sink === undefined ? [usual] : sinksIn(sink).map(recordTo)
  return recordIn(sinks, clock, (error) => logger.error('the audit sink failed', { error }))
}

type Sinks = NonNullable<Options<unknown>['audit']>

const sinksIn = (sink: Sinks): readonly (AuditSink | AuditLog)[] =>
  Array.isArray(sink) ? sink : [sink as AuditSink | AuditLog]

const recordTo = (sink: AuditSink | AuditLog): AuditSink =>
  typeof sink === 'function' ? sink : (event) => sink.record(event)

/** Writes what is left of audit events, and closes the logs that keep them. It never throws. */
export const closeAudit = async ({ audit = [] }: Options<unknown>, logger: Logger): Promise<void> => {
  const logs = sinksIn(audit).filter((sink): sink is AuditLog => typeof sink !== 'function')
  for (const { status, ...outcome } of await Promise.allSettled(logs.map((log) => log.close()))) {
    if (status === 'rejected') logger.error('an audit log could not be closed', outcome)
  }
}

// Standard output may belong to a protocol, so an event is a line of JSON on the other one.
const toStandardError = (event: AuditEvent): void => {
  console.error(jsonLine(event))
}
