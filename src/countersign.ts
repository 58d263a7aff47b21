import { type Administration, createAdministration } from './administration.ts'
import { checkWorkloadClients, resolveAssertionIssuers } from './authorization-server/assertion-options.ts'
import { resolveClients } from './authorization-server/client-options.ts'
import type { ServingContext } from './authorization-server/context.ts'
import { createOwnVerifier } from './authorization-server/own-verifier.ts'
import { createMetadataSigner } from './authorization-server/signed-metadata.ts'
import type { Audit } from './events/audit.ts'
import { systemClock } from './events/clock.ts'
import { silentLogger } from './events/logger.ts'
import { composed, eventAttributes } from './events/telemetry.ts'
import type { Auth } from './http/auth.ts'
import { createHealth } from './http/health.ts'
import { observedRequest } from './http/observed-request.ts'
import { pathOf } from './http/path.ts'
import { createRoutes } from './http/routes.ts'
import { stopGracefully } from './http/stopping.ts'
import type { UpstreamClaims } from './identity/access-token.ts'
import { clientAddressReader } from './net/client-address.ts'
import { observedFetch } from './net/observed-fetch.ts'
import { ConfigurationError } from './oauth/configuration-error.ts'
import { type ResourceOptions, resolveResources } from './oauth/resource.ts'
import { checkIssuer } from './oauth/server-metadata.ts'
import { checkOptions, type Options } from './options.ts'
import { createProtection, type ProtectionOptions } from './protection.ts'
import { createActivity } from './resource-server/activity.ts'
import { closeAudit, createAudit, createServerContext, endpointsBelow } from './server-context.ts'
import { observedStore } from './store/observed.ts'
import { sqlite } from './store/sqlite.ts'
import { localAccounts } from './upstream/local.ts'
import type { Provider } from './upstream/provider.ts'
import { checkProviders } from './upstream/provider-checks.ts'
import { watchReleases } from './upstream/release-watch.ts'

/** An authorization server, and the gate in front of its resources. */
export interface Countersign<Upstream = UpstreamClaims> extends Auth<Upstream>, Administration {
  readonly issuer: string
}

/** Options with several providers, whose claims may be of several types: a handler's are of one of them. */
interface SeveralProviders<P extends Provider<unknown>> extends Omit<Options<ClaimsOf<P>>, 'upstream'> {
  readonly upstream: readonly P[]
}

/** The type of the claims of a provider. */
type ClaimsOf<P> = P extends Provider<infer Claims> ? Claims : never

/**
 * Makes an authorization server for MCP. Nothing is opened before `ready()` or the first request.
 * @throws ConfigurationError at once where an option is wrong; it names the option and what was expected
 */
export function countersign<P extends Provider<unknown>>(options: SeveralProviders<P>): Countersign<ClaimsOf<P>>
export function countersign<Claims = UpstreamClaims>(options: Options<Claims>): Countersign<Claims>
export function countersign<Claims>(options: Options<Claims>): Countersign<Claims> {
  checkIssuer(options.url)
  const { url, logger = silentLogger, upstream = localAccounts() } = options
  checkProviders(upstream)
  checkOptions(options)
  const { described, protectedBy } = separated(options.resources)
  const resources = resolveResources(url, described)
  const telemetry = composed(options.telemetry)
  const plainStore = options.store ?? sqlite('.countersign/countersign.db')
  const store = telemetry ? observedStore(plainStore, telemetry) : plainStore
  const recorded = createAudit(options, logger)
  const audit: Audit = telemetry
    ? (facts) => {
        telemetry.event(eventAttributes(facts))
        recorded(facts)
      }
    : recorded
  const providers = 'open' in upstream ? [upstream] : upstream
  const endpoints = endpointsBelow(url)
  const { clients = [], privateSchemes = [], assertions = [] } = options
  const providerIds = providers.map(({ id }) => id)
  const trusted = resolveAssertionIssuers(assertions, { issuer: url, resources, providerIds })
  const surroundings = { issuer: url, resources, privateSchemes, ...(trusted && { assertions: trusted }) }
  checkWorkloadClients(assertions, new Set(clients.map(({ id }) => id)))
  const configuredClients = resolveClients(clients, surroundings)
  const fetch = options.fetch ?? globalThis.fetch
  const observing = telemetry ? { ...options, fetch: observedFetch(fetch, telemetry) } : options
  const parts = {
    options: observing,
    resources,
    providers,
    endpoints,
    configuredClients,
    trusted,
    store,
    logger,
    audit,
  }

  let opened: Opened | undefined
  const open = retried(async () => {
    const context = await createServerContext(parts)
    const server = { ...context, verifier: createOwnVerifier(context) }
    opened = { server, stopWatching: await watchReleases(server) }
    return opened
  })
  const current = async (): Promise<ServingContext> => {
    const { server } = opened ?? (await open())
    await server.keys.catchUp()
    return server
  }
  const clientAddress = clientAddressReader(options.trustedProxies ?? [], (address) =>
    logger.warn(
      'a peer that trustedProxies does not name says whom it forwards: all who come through it count as one address',
      {
        address,
      },
    ),
  )
  const routes = createRoutes({
    issuer: url,
    endpoints,
    providerIds,
    branding: options.branding ?? {},
    logger,
    open: async () => {
      if (activity.stopped) throw new Error('the server is being stopped')
      return current()
    },
  })

  const clock = options.clock ?? systemClock
  const activity = createActivity()
  let leaving = false
  let closed: Promise<void> | undefined
  const health = createHealth({
    paths: options.health ?? {},
    leaving: () => leaving,
    check: async () => (await current()).records.store.get([]),
    now: clock.now,
  })
  for (const { identifier } of resources) {
    const { origin, pathname } = new URL(identifier)
    if (origin === new URL(url).origin && (routes.handles(pathname) || health.handles(pathname))) {
      throw new ConfigurationError(
        `resources[${JSON.stringify(pathname)}]`,
        'a path that is no endpoint of this server',
      )
    }
  }
  const protection = createProtection<Claims>({
    resources: resources.map((resource, index) => ({ ...protectedBy[index], resource })),
    authorizationServers: [url],
    bindingKeys: async () => (await current()).keys,
    signMetadata: createMetadataSigner(current, logger),
    dpop: async () => (opened ?? (await open())).server.dpop,
    verifier: {
      verify: async (token, resource, jkt) => (opened ?? (await open())).server.verifier.verify(token, resource, jkt),
      recall: (token, resource) => opened?.server.verifier.recall?.(token, resource),
    },
    activity,
    telemetry,
    audit,
    logger,
    clock,
  })

  const handles = (pathname: string) => protection.metadata.handles(pathname) || routes.handles(pathname)

  return {
    issuer: url,
    ...protection,
    handles: (pathname) => handles(pathname) || health.handles(pathname),
    async respond(request, info) {
      const done = activity.begin()
      try {
        const path = pathOf(request.url)
        if (health.handles(path)) return await health.respond(request)
        const answer = async () =>
          (protection.metadata.handles(path) ? await protection.metadata.respond(request) : undefined) ??
          (await routes.respond(request, { remoteAddress: clientAddress(request, info?.remoteAddress) }))
        return await (telemetry ? observedRequest(telemetry, request, handles, answer) : answer())
      } finally {
        done()
      }
    },
    ready: async () => {
      await open()
    },
    ...createAdministration(current),
    close(closing) {
      leaving = true
      closed ??= stopGracefully({ activity, streams: protection.streams, ...closing }).then(async () => {
        opened?.stopWatching()
        opened?.server.verifier.close()
        opened?.server.keys.close()
        await store.close()
        await closeAudit(options, logger)
      })
      return closed
    },
  }
}

/** What a resource is, and how it is protected: two rooms' business. */
const separated = (resources: Options<unknown>['resources']) => {
  const described: Record<string, ResourceOptions> = {}
  const protectedBy: ProtectionOptions[] = []
  for (const [
    path,
    { name, scopes, defaultScopes, lifetimes, dpopBoundAccessTokensRequired, ...protection },
  ] of Object.entries(resources)) {
    described[path] = {
      ...(name && { name }),
      ...(scopes && { scopes }),
      ...(defaultScopes && { defaultScopes }),
      // The gate needs it, too.
      ...(protection.implies && { implies: protection.implies }),
      ...(dpopBoundAccessTokensRequired && { dpopBoundAccessTokensRequired }),
      ...(lifetimes && { lifetimes }),
    }
    protectedBy.push(protection)
  }
  return { described, protectedBy }
}

interface Opened {
  readonly stopWatching: () => void
  readonly server: ServingContext
}

/** One attempt at a time; one that succeeded is the last, one that failed is forgotten. */
const retried = <T>(attempt: () => Promise<T>): (() => Promise<T>) => {
  let current: Promise<T> | undefined
  return () => {
    current ??= attempt().catch((error: unknown) => {
      current = undefined
      throw error
    })
    return current
  }
}
