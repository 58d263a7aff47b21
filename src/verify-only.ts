import * as z from 'zod'
import { base64url, utf8 } from './crypto/bytes.ts'
import { deriveKey, hmacSha256 } from './crypto/hash.ts'
import type { AuditSink } from './events/audit.ts'
import { type Clock, systemClock } from './events/clock.ts'
import { type Logger, silentLogger } from './events/logger.ts'
import { systemRandom } from './events/random.ts'
import { recordIn } from './events/record.ts'
import { composed, eventAttributes, type Telemetry } from './events/telemetry.ts'
import type { Auth } from './http/auth.ts'
import { pathOf } from './http/path.ts'
import { stopGracefully } from './http/stopping.ts'
import type { UpstreamClaims } from './identity/access-token.ts'
import type { TokenVerifier } from './identity/verifier.ts'
import { checkInstances } from './instance-checks.ts'
import { minimumSecretLength } from './keys/secret.ts'
import { secretKeys } from './keys/secret-keys.ts'
import { ConfigurationError } from './oauth/configuration-error.ts'
import { createDpopNonces } from './oauth/dpop-nonce.ts'
import { type ResourceOptions, resolveResources } from './oauth/resource.ts'
import { checkBySchema, protectedResourceSchema } from './option-checks.ts'
import { createProtection, type ProtectionOptions } from './protection.ts'
import { createActivity } from './resource-server/activity.ts'
import type { GateDpop } from './resource-server/dpop.ts'
import { type IssuerVerifier, verifierOf } from './resource-server/issuer.ts'
import { createProofMemory } from './resource-server/proof-memory.ts'

export interface ResourceServerOptions<Upstream = UpstreamClaims> extends ResourceOptions, ProtectionOptions {
  /** The resource's URL, exactly as people type it into their clients. */
  readonly resource: string
  /** Who may issue tokens for it, for instance `[jwks('https://issuer.example.com')]`. */
  readonly issuers: readonly IssuerVerifier<Upstream>[]
  /**
   * What binds sessions and `requestState` to their callers: 32 characters or more of randomness, the same on every node, or a list of which the
   * first is in use. Without it a process makes its own: then what one process gave out no other takes, nor the same after a restart.
   */
  readonly secret?: string | readonly [string, ...string[]]
  /**
   * True: DPoP proofs must bring a nonce of this server's. On several nodes give them one `secret`, or each asks for a nonce of its own. Which proofs
   * were used, each process knows for itself: on several, one that was overheard within five minutes may be used once at each, and nonces make that
   * two.
   */
  readonly dpopNonces?: boolean
  /** Receives an event for each refusal; by default they go to the logger. */
  readonly audit?: AuditSink
  /** What is measured goes there: `prometheus()`, `openTelemetry()`, or several. Without it nothing is measured. */
  readonly telemetry?: Telemetry | readonly Telemetry[] | undefined
  /** Silent by default. */
  readonly logger?: Logger
  readonly clock?: Clock
}

/**
 * Protects a resource with the tokens of other issuers.
 * @throws ConfigurationError for options that can't be right
 */
export const resourceServer = <Upstream = UpstreamClaims>(options: ResourceServerOptions<Upstream>): Auth<Upstream> => {
  const {
    issuers,
    logger = silentLogger,
    clock = systemClock,
    name,
    scopes,
    defaultScopes,
    dpopBoundAccessTokensRequired,
    dpopNonces = false,
  } = options
  checkOptions(options)
  const secrets = secretsOf(options.secret)
  const described = {
    ...(name && { name }),
    ...(scopes && { scopes }),
    ...(defaultScopes && { defaultScopes }),
    ...(dpopBoundAccessTokensRequired && { dpopBoundAccessTokensRequired }),
  }
  const resources = resolveResources(options.resource, { [options.resource]: described })
  for (const issuer of issuers) issuer.check?.(options.resource)
  const sink: AuditSink = options.audit ?? ((event) => logger.info(event.type, event))
  const recorded = recordIn([sink], clock, (error) => logger.error('the audit sink failed', { error }))

  const proofKey = dpopNonces
    ? deriveKey(utf8(secrets?.[0] ?? base64url(systemRandom.bytes(32))), 'dpop nonces')
    : undefined
  const dpop: GateDpop = {
    marks: createProofMemory(),
    ...(proofKey && { nonces: createDpopNonces(async (text) => base64url(hmacSha256(proofKey, text)), clock) }),
  }

  const activity = createActivity()
  const telemetry = composed(options.telemetry)
  const protection = createProtection<Upstream>({
    resources: resources.map((resource) => ({ ...options, resource })),
    authorizationServers: issuers
      .filter(({ authorizationServer }) => authorizationServer !== false)
      .map(({ issuer }) => issuer),
    // The upstream claims have the types of the issuers' schemas; below the gate's edge nobody looks at them.
    verifier: verifierOf(issuers) as TokenVerifier,
    bindingKeys() {
      if (secrets) return secretKeys(secrets)
      logger.info('no `secret`: sessions and requestState are bound with a key of this process alone')
      return secretKeys([base64url(systemRandom.bytes(32))])
    },
    dpop: () => dpop,
    activity,
    telemetry,
    audit(facts) {
      telemetry?.event(eventAttributes(facts))
      recorded(facts)
    },
    logger,
    clock,
  })

  return {
    ...protection,
    handles: protection.metadata.handles,
    respond: async (request) =>
      protection.metadata.handles(pathOf(request.url)) ? protection.metadata.respond(request) : undefined,
    async ready() {
      await Promise.all(issuers.map((issuer) => issuer.ready?.()))
    },
    close: (closing) => stopGracefully({ activity, streams: protection.streams, ...closing }),
  }
}

/** What is misspelt would be a rule that nobody applies. @throws ConfigurationError */
const checkOptions = <Upstream>({ issuers, secret: _, ...options }: ResourceServerOptions<Upstream>): void => {
  const data = Object.fromEntries(
    Object.entries(options).filter(([name, value]) => !instances.includes(name) && value !== undefined),
  )
  checkBySchema(optionsSchema, data)
  checkInstances(options)
  if (!URL.canParse(options.resource)) throw new ConfigurationError('resource', 'an absolute https URL')
  if (!Array.isArray(issuers) || issuers.length === 0 || issuers.some((each) => typeof each?.verify !== 'function')) {
    throw new ConfigurationError('issuers', 'a list of at least one verifier, for instance [jwks(issuer)]')
  }
}

const optionsSchema = z.strictObject({
  ...protectedResourceSchema,
  resource: z.string(),
  dpopNonces: z.boolean().optional(),
})
const instances = ['audit', 'telemetry', 'logger', 'clock']

const secretsOf = (secret: ResourceServerOptions['secret']): readonly [string, ...string[]] | undefined => {
  if (secret === undefined) return undefined
  const secrets = typeof secret === 'string' ? ([secret] as const) : secret
  const strong = secrets.length > 0 && secrets.every((each) => each.length >= minimumSecretLength)
  if (!strong) throw new ConfigurationError('secret', `at least ${minimumSecretLength} characters of randomness`)
  return secrets
}
