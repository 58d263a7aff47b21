import type { AuditSink } from './events/audit.ts'
import { type Clock, systemClock } from './events/clock.ts'
import { type Logger, silentLogger } from './events/logger.ts'
import type { Auth } from './http/auth.ts'
import type { UpstreamClaims } from './identity/access-token.ts'
import type { TokenVerifier } from './identity/verifier.ts'
import { ConfigurationError } from './oauth/configuration-error.ts'
import { type ResourceOptions, resolveResources } from './oauth/resource.ts'
import { createProtection, type ProtectionOptions } from './protection.ts'
import { type IssuerVerifier, verifierOf } from './resource-server/issuer.ts'

export interface ResourceServerOptions<Upstream = UpstreamClaims> extends ResourceOptions, ProtectionOptions {
  /** The resource's URL, exactly as people type it into their clients. */
  readonly resource: string
  /** Who may issue tokens for it, for instance `[jwks('https://issuer.example.com')]`. */
  readonly issuers: readonly IssuerVerifier<Upstream>[]
  /** Receives an event for each refusal; by default they go to the logger. */
  readonly audit?: AuditSink
  /** Silent by default. */
  readonly logger?: Logger
  readonly clock?: Clock
}

/**
 * Protects a resource with the tokens of other issuers.
 * @throws ConfigurationError for options that can't be right
 */
export const resourceServer = <Upstream = UpstreamClaims>(options: ResourceServerOptions<Upstream>): Auth<Upstream> => {
  const { issuers, logger = silentLogger, clock = systemClock, name, scopes, defaultScopes } = options
  if (!URL.canParse(options.resource)) throw new ConfigurationError('resource', 'an absolute https URL')
  if (issuers.length === 0) throw new ConfigurationError('issuers', 'at least one, for instance jwks(issuer)')
  const described = { ...(name && { name }), ...(scopes && { scopes }), ...(defaultScopes && { defaultScopes }) }
  const resources = resolveResources(options.resource, { [options.resource]: described })
  const sink: AuditSink = options.audit ?? ((event) => logger.info(event.type, event))

  const protection = createProtection<Upstream>({
    resources: resources.map((resource) => ({ ...options, resource })),
    authorizationServers: issuers.map(({ issuer }) => issuer),
    // The upstream claims have the types of the issuers' schemas; below the gate's edge nobody looks at them.
    verifier: verifierOf(issuers) as TokenVerifier,
    audit: (facts) => void sink({ ...facts, at: clock.now() }),
    logger,
    clock,
  })

  return {
    ...protection,
    handles: protection.metadata.handles,
    respond: async (request) => protection.metadata.respond(request),
    async ready() {
      await Promise.all(issuers.map((issuer) => issuer.ready?.()))
    },
  }
}
