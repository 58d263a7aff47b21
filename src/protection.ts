import type { Audit } from './events/audit.ts'
import type { Clock } from './events/clock.ts'
import type { Logger } from './events/logger.ts'
import { httpOutcome, type Outcome, type Telemetry } from './events/telemetry.ts'
import type { Admission, Auth } from './http/auth.ts'
import type { AccessToken, UpstreamClaims } from './identity/access-token.ts'
import { withAccessToken } from './identity/context.ts'
import type { TokenVerifier } from './identity/verifier.ts'
import { createAuthInfo } from './mcp/auth-info.ts'
import { type Binding, type BindingKeys, createBinding } from './mcp/binding.ts'
import { bindRequests } from './mcp/bound-requests.ts'
import { checkPolicy } from './mcp/policy/check.ts'
import type { AccessPolicy } from './mcp/policy/rule.ts'
import { requestPolicy } from './mcp/request-policy.ts'
import { guardFactory } from './mcp/server-factory.ts'
import type { Resource } from './oauth/resource.ts'
import type { Activity } from './resource-server/activity.ts'
import { unavailableResponse } from './resource-server/challenge.ts'
import { withHeaders } from './resource-server/cors.ts'
import type { GateDpop } from './resource-server/dpop.ts'
import { createGate, type Gate, type GateDecision } from './resource-server/gate.ts'
import { guardedResponse } from './resource-server/guarded-response.ts'
import type {
  FetchHandler,
  GateRequest,
  HandlerContext,
  RequestInfo,
  ResponseGuard,
} from './resource-server/handler.ts'
import { createMetadataRoutes, type MetadataRoutes, type SignMetadata } from './resource-server/metadata.ts'
import { createOpenStreams, type OpenStreams } from './resource-server/open-streams.ts'
import { requestWithSession, responseWithSession } from './resource-server/session-header.ts'

/** How a resource is protected, besides what it is. */
export interface ProtectionOptions extends AccessPolicy {
  /** Values of `Host` that are let in besides the resource's own: `name` or `name:port`. */
  readonly hosts?: readonly string[] | undefined
  /** Origins of web pages that are let in besides the resource's own and loopback ones. */
  readonly origins?: readonly string[] | undefined
}

export interface ProtectedResource extends ProtectionOptions {
  readonly resource: Resource
}

export interface ProtectionFacts {
  /** Never empty. */
  readonly resources: readonly ProtectedResource[]
  /** Issuers, as the resources' metadata names them. */
  readonly authorizationServers: readonly string[]
  readonly verifier: TokenVerifier
  readonly signMetadata?: SignMetadata | undefined
  /** What binds sessions and `requestState` to their callers; asked for once, at the first request. */
  readonly bindingKeys: () => BindingKeys | Promise<BindingKeys>
  /** What the proofs of bound tokens are checked against. */
  readonly dpop: () => GateDpop | Promise<GateDpop>
  /** Counts what is under way; once it is stopped, nothing is let in. */
  readonly activity: Activity
  readonly telemetry?: Telemetry | undefined
  readonly audit: Audit
  readonly logger: Logger
  readonly clock: Clock
}

/** The resource side of an `Auth`: gates, and the metadata that leads clients to their authorization server. */
export interface Protection<Upstream = UpstreamClaims>
  extends Pick<Auth<Upstream>, 'gate' | 'admit' | 'server' | 'vouches'> {
  readonly metadata: MetadataRoutes
  readonly streams: OpenStreams
  /** Vouches for a token that no verifier saw: for `countersign/testing` alone, which finds it by this symbol. */
  readonly [adopt]: (token: AccessToken<unknown>) => void
}

/** The same in all copies of the package: tests and application may each bring their own. */
export const adopt: unique symbol = Symbol.for('countersign.adopt')

export const createProtection = <Upstream = UpstreamClaims>(facts: ProtectionFacts): Protection<Upstream> => {
  const { resources, authorizationServers, verifier, audit, logger, clock } = facts
  const verified = new WeakSet<AccessToken<unknown>>()
  const streams = createOpenStreams({ verifier, clock, audit })
  const { activity, telemetry } = facts
  let bound: Binding | undefined
  const bind = async (): Promise<Binding> => {
    bound ??= createBinding(await facts.bindingKeys(), clock)
    return bound
  }
  const gates = resources.map(({ resource, hosts, origins, ...requirements }) => {
    const known = Object.keys(resource.scopes)
    const path = `resources[${JSON.stringify(resource.identifier)}]`
    checkPolicy(requirements, known.length === 0 ? undefined : known, path)
    const policy = bindRequests(requestPolicy(requirements, logger), () => bound ?? bind(), logger)
    return createGate({ resource, verifier, policy, hosts, origins, dpop: facts.dpop, audit, logger, clock })
  })
  const gateOf = findGate(gates)

  const decide = (gate: Gate, request: GateRequest, info?: RequestInfo): GateDecision | Promise<GateDecision> => {
    if (activity.stopped) return { admitted: false, response: unavailableResponse(1) }
    if (!telemetry) return gate.admit(request, info)
    const { identifier } = gate.resource
    return telemetry.observe(
      {
        metric: 'countersign.gate.duration',
        name: 'gate',
        attributes: { 'countersign.resource': identifier },
        carrier: request.headers,
      },
      async () => gate.admit(request, info),
      (decision) =>
        decision.admitted ? { attributes: { 'countersign.decision': 'admitted' } } : refusedOutcome(decision.response),
    )
  }
  const admissionOf = (gate: Gate, request: GateRequest, decision: GateDecision): Admission<Upstream> => {
    if (!decision.admitted) return decision
    const { token, parsedBody, filter, session, responseHeaders } = decision
    verified.add(token)
    const guard: ResponseGuard = {
      filter,
      session,
      messagesOnly: request.method === 'POST',
      watch(end) {
        const unwatch = streams.watch(token, answersCall(request, parsedBody), (comeBack) => {
          done()
          end(comeBack)
        })
        const done = activity.begin()
        return () => {
          done()
          unwatch()
        }
      },
      begin: activity.begin,
    }
    return {
      admitted: true,
      accessToken: token as AccessToken<Upstream>,
      authInfo: createAuthInfo(token, gate.metadataUrl),
      parsedBody,
      responseHeaders,
      guard,
      forward: (incoming) => requestWithSession(incoming, session),
      finish: (response) =>
        guardedResponse(response, guard, (guarded) =>
          withHeaders(responseWithSession(guarded, session), responseHeaders),
        ),
    }
  }

  const protection: Protection<Upstream> = {
    vouches: (token): token is AccessToken<Upstream> => verified.has(token),

    async admit(path, request, info) {
      const gate = gateOf(path)
      return admissionOf(gate, request, await decide(gate, request, info))
    },

    gate(path, handler) {
      const gate = gateOf(path)
      const respond = responder(handler)
      return async (request, info) => {
        const decided = decide(gate, request, info)
        // By what it holds: libraries replace the global Promise, and then no other is an instance of it.
        const decision = 'admitted' in decided ? decided : await decided
        const admission = admissionOf(gate, request, decision)
        if (!admission.admitted) return admission.response
        const { accessToken, authInfo, parsedBody } = admission
        const context = { authInfo, accessToken, ...(parsedBody === undefined ? {} : { parsedBody }) }
        const done = activity.begin()
        try {
          const forwarded = admission.forward(request)
          const finished = admission.finish(await withAccessToken(accessToken, () => respond(forwarded, context)))
          return 'then' in finished ? await finished : finished
        } finally {
          done()
        }
      }
    },

    server: (factory) => guardFactory(protection, factory),

    [adopt]: (token) => void verified.add(token),

    streams,

    metadata: createMetadataRoutes(
      resources.map(({ resource }) => resource),
      authorizationServers,
      facts.signMetadata,
    ),
  }
  return protection
}

const refusedOutcome = (response: Response): Outcome => {
  const outcome = httpOutcome(response)
  return { ...outcome, attributes: { 'countersign.decision': 'refused', ...outcome.attributes } }
}

/** Whether a stream answers a call; others only listen, and can be opened again with a newer token at any time. */
const answersCall = ({ method }: GateRequest, body: unknown): boolean =>
  method === 'POST' && (body as { method?: unknown } | undefined)?.method !== 'subscriptions/listen'

const responder = <Upstream>(handler: FetchHandler<Upstream>) =>
  typeof handler === 'function'
    ? handler
    : (request: Request, context: HandlerContext<Upstream>) => handler.fetch(request, context)

/** By path where that says which, and by the resource's URL. */
const findGate = (gates: readonly Gate[]): ((path: string) => Gate) => {
  const byName = new Map<string, Gate>()
  const ambiguous = new Set<string>()
  for (const gate of gates) {
    const { pathname } = new URL(gate.resource.identifier)
    if (byName.has(pathname)) ambiguous.add(pathname)
    byName.set(pathname, gate)
  }
  for (const path of ambiguous) byName.delete(path)
  for (const gate of gates) byName.set(gate.resource.identifier, gate)
  return (path) => {
    const gate = byName.get(path)
    if (gate) return gate
    const known = [...byName.keys()].map((name) => `"${name}"`).join(', ')
    throw new Error(
      ambiguous.has(path)
        ? `several resources have the path "${path}": name one by its URL (known are ${known})`
        : `no resource is configured at "${path}" (known are ${known})`,
    )
  }
}
