import type { Audit } from '../events/audit.ts'
import type { Logger } from '../events/logger.ts'
import type { AccessToken } from '../identity/access-token.ts'
import { TokenInvalid, type TokenVerifier } from '../identity/verifier.ts'
import type { Resource } from '../oauth/resource.ts'
import { readBearer } from './bearer.ts'
import { type Challenge, challengeResponse, rpcErrorResponse, unavailableResponse } from './challenge.ts'
import { corsHeaders, isPreflight, preflightResponse, withHeaders } from './cors.ts'
import type { GateRequest, MessageFilter, RequestInfo, SessionIds } from './handler.ts'
import { createHostCheck, createOriginCheck } from './hosts.ts'
import { metadataUrl } from './metadata.ts'
import type { PolicyDecision, RequestPolicy } from './policy.ts'

export interface GateOptions {
  readonly resource: Resource
  readonly verifier: TokenVerifier
  readonly policy?: RequestPolicy | undefined
  /** Values of `Host` that are let in besides the resource's own: `name` or `name:port`. */
  readonly hosts?: readonly string[] | undefined
  /** Origins of web pages that are let in besides the resource's own and loopback ones. */
  readonly origins?: readonly string[] | undefined
  readonly audit: Audit
  readonly logger: Logger
}

/** The check in front of one protected resource. */
export interface Gate {
  readonly resource: Resource
  readonly metadataUrl: string
  /** Never rejects: what can't be decided is refused. */
  admit(request: GateRequest, info?: RequestInfo): Promise<GateDecision>
}

export type GateDecision =
  | {
      readonly admitted: true
      readonly token: AccessToken
      readonly parsedBody: unknown
      /** For the messages of the response; undefined where they may go as they are. */
      readonly filter: MessageFilter | undefined
      readonly session: SessionIds | undefined
      /** For the response of what stands behind the gate. */
      readonly responseHeaders: Readonly<Record<string, string>>
    }
  | { readonly admitted: false; readonly response: Response }

export const createGate = ({ resource, verifier, policy, hosts, origins, audit, logger }: GateOptions): Gate => {
  const url = new URL(resource.identifier)
  const hostAllowed = createHostCheck(url, hosts ?? [])
  const originAllowed = createOriginCheck(url, origins ?? [])
  const metadata = metadataUrl(resource.identifier)

  const refuse = (request: GateRequest, reason: string, response: Response, token?: AccessToken): GateDecision => {
    audit({
      type: 'access.refused',
      reason,
      resource: resource.identifier,
      status: response.status,
      ...(token
        ? { clientId: token.clientId, issuer: token.issuer, subject: token.subject, scopes: token.scopes }
        : {}),
    })
    const origin = request.headers.get('origin')
    const readable = origin !== null && originAllowed(origin)
    return { admitted: false, response: readable ? withHeaders(response, corsHeaders(origin)) : response }
  }

  const admitted = (
    request: GateRequest,
    token: AccessToken,
    { parsedBody, filter, session }: Admitted,
  ): GateDecision => {
    const origin = request.headers.get('origin')
    const responseHeaders = origin === null ? noHeaders : corsHeaders(origin)
    return { admitted: true, token, parsedBody, filter, session, responseHeaders }
  }

  const challenge = (
    error: Challenge['error'],
    description: string,
    scopes: readonly string[] = resource.defaultScopes,
  ): Response => challengeResponse({ error, description, scopes, metadataUrl: metadata })

  const unavailable = (request: GateRequest, reason: string, error: unknown, token?: AccessToken): GateDecision => {
    logger.error(`a request to ${resource.identifier} could not be decided: ${reason}`, { error })
    return refuse(request, reason, unavailableResponse(retryAfter), token)
  }

  const decide = (request: GateRequest, token: AccessToken, decision: PolicyDecision): GateDecision => {
    switch (decision.outcome) {
      case 'allow':
        return admitted(request, token, decision)
      case 'insufficient_scope': {
        // With what the client has already: some ask for exactly what they read here, and would lose the rest.
        const complete = [...new Set([...token.scopes, ...decision.scopes])]
        const response = challenge('insufficient_scope', 'This request needs more scopes', complete)
        return refuse(request, 'insufficient_scope', response, token)
      }
      case 'forbid':
        return refuse(request, decision.reason, rpcErrorResponse(403, forbidden, 'Not allowed for this caller'), token)
      case 'malformed':
        return refuse(
          request,
          decision.reason,
          rpcErrorResponse(decision.status, decision.code, decision.message, decision),
          token,
        )
    }
  }

  return {
    resource,
    metadataUrl: metadata,

    async admit(request, info) {
      if (isPreflight(request)) return { admitted: false, response: preflightResponse(request, originAllowed) }
      if (!hostAllowed(request)) {
        logger.warn('refused a request for a foreign Host; if a proxy in front sends it, name it in `hosts`')
        return refuse(request, 'foreign_host', rpcErrorResponse(403, forbidden, 'This Host is not served here'))
      }
      const origin = request.headers.get('origin')
      if (origin !== null && !originAllowed(origin)) {
        return refuse(request, 'foreign_origin', rpcErrorResponse(403, forbidden, 'This Origin is not allowed'))
      }

      const presented = readBearer(request.headers.get('authorization'))
      if (presented.kind === 'none') {
        return refuse(request, 'no_token', challenge('invalid_token', 'An access token is needed'))
      }
      if (presented.kind === 'ambiguous') {
        const response = challenge('invalid_request', 'Exactly one Authorization header with one token is needed')
        return refuse(request, 'several_tokens', response)
      }
      if (presented.kind === 'garbage') {
        return refuse(request, 'malformed', challenge('invalid_token', invalidToken))
      }

      let token: AccessToken
      try {
        token = await verifier.verify(presented.token, resource.identifier)
      } catch (error) {
        // Only what says that the token is bad may cost the client its token; all else is our own trouble.
        if (!(error instanceof TokenInvalid)) return unavailable(request, 'verifier_unavailable', error)
        return refuse(request, error.reason, challenge('invalid_token', invalidToken))
      }
      if (!policy) return admitted(request, token, { parsedBody: info?.parsedBody })

      let decision: PolicyDecision
      try {
        decision = await policy.decide(request, token, info?.parsedBody)
      } catch (error) {
        return unavailable(request, 'policy_failed', error, token)
      }
      return decide(request, token, decision)
    },
  }
}

type Admitted = Pick<PolicyDecision & { readonly outcome: 'allow' }, 'parsedBody' | 'filter' | 'session'>

const noHeaders = {}

const invalidToken = 'The access token is expired, revoked or not for this resource'
/** JSON-RPC's range for a server's own errors. */
const forbidden = -32000
/** Seconds. */
const retryAfter = 5
