import type { Audit } from '../events/audit.ts'
import type { Clock } from '../events/clock.ts'
import type { Logger } from '../events/logger.ts'
import type { AccessToken } from '../identity/access-token.ts'
import { checkBoundKey } from '../identity/confirmation.ts'
import { TokenInvalid, type TokenVerifier } from '../identity/verifier.ts'
import { dpopAlgorithms } from '../oauth/dpop-proof.ts'
import type { Resource } from '../oauth/resource.ts'
import { type Challenge, challengeResponse, rpcErrorResponse, unavailableResponse } from './challenge.ts'
import { corsHeaders, isPreflight, preflightResponse, withHeaders } from './cors.ts'
import { type CheckedProof, createProofCheck, type GateDpop, ProofRefused } from './dpop.ts'
import type { GateRequest, MessageFilter, RequestInfo, SessionIds } from './handler.ts'
import { createHostCheck, createOriginCheck } from './hosts.ts'
import { metadataUrl } from './metadata.ts'
import type { PolicyDecision, RequestPolicy } from './policy.ts'
import { type PresentedToken, readAccessToken } from './presented-token.ts'

export interface GateOptions {
  readonly resource: Resource
  readonly verifier: TokenVerifier
  readonly policy?: RequestPolicy | undefined
  /** Values of `Host` that are let in besides the resource's own: `name` or `name:port`. */
  readonly hosts?: readonly string[] | undefined
  /** Origins of web pages that are let in besides the resource's own and loopback ones. */
  readonly origins?: readonly string[] | undefined
  /** For bound tokens; opened when the first one comes. */
  readonly dpop: () => GateDpop | Promise<GateDpop>
  readonly audit: Audit
  readonly logger: Logger
  readonly clock: Clock
}

/** The check in front of one protected resource. */
export interface Gate {
  readonly resource: Resource
  readonly metadataUrl: string
  /** Never fails: what can't be decided is refused. At once, where nothing has to be waited for: with a token that was seen, that is most calls. */
  admit(request: GateRequest, info?: RequestInfo): GateDecision | Promise<GateDecision>
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

export const createGate = (options: GateOptions): Gate => {
  const { resource, verifier, policy, hosts, origins, dpop, audit, logger, clock } = options
  const url = new URL(resource.identifier)
  const hostAllowed = createHostCheck(url, hosts ?? [])
  const originAllowed = createOriginCheck(url, origins ?? [])
  const metadata = metadataUrl(resource.identifier)
  const checkProof = createProofCheck(resource, dpop, clock)
  const boundOnly = resource.dpopBoundAccessTokensRequired === true

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
    proof: CheckedProof | undefined,
  ): GateDecision => {
    const origin = request.headers.get('origin')
    const cors = origin === null ? noHeaders : corsHeaders(origin)
    const responseHeaders = proof ? { ...cors, ...proof.responseHeaders } : cors
    return { admitted: true, token, parsedBody, filter, session, responseHeaders }
  }

  const challenge = (
    error: Challenge['error'],
    description: string,
    { dpop: speaksDpop = false, scopes = resource.defaultScopes, headers }: ChallengeDetails = {},
  ): Response => {
    const algorithms = speaksDpop || boundOnly ? dpopAlgorithms : undefined
    return challengeResponse({ error, description, scopes, metadataUrl: metadata, speaksDpop, algorithms }, headers)
  }

  const unavailable = (request: GateRequest, reason: string, error: unknown, token?: AccessToken): GateDecision => {
    logger.error(`a request to ${resource.identifier} could not be decided: ${reason}`, { error })
    return refuse(request, reason, unavailableResponse(retryAfter), token)
  }

  const refuseProof = (request: GateRequest, error: unknown, token?: AccessToken): GateDecision => {
    if (!(error instanceof ProofRefused)) return unavailable(request, 'proof_unknown', error, token)
    const { code, reason, headers } = error
    return refuse(request, reason, challenge(code, proofNeeded[code], { dpop: true, headers }), token)
  }

  const decide = (
    request: GateRequest,
    token: AccessToken,
    decision: PolicyDecision,
    proof: CheckedProof | undefined,
  ): GateDecision => {
    switch (decision.outcome) {
      case 'allow':
        return admitted(request, token, decision, proof)
      case 'insufficient_scope': {
        // With what the client has already: some ask for exactly what they read here, and would lose the rest.
        const complete = [...new Set([...token.scopes, ...decision.scopes])]
        const details = { scopes: complete, dpop: proof !== undefined }
        const response = challenge('insufficient_scope', 'This request needs more scopes', details)
        return refuse(request, 'insufficient_scope', response, token)
      }
      case 'forbid':
        return refuse(
          request,
          decision.reason,
          rpcErrorResponse(403, forbidden, 'Not allowed for this caller', decision),
          token,
        )
      case 'malformed':
        return refuse(
          request,
          decision.reason,
          rpcErrorResponse(decision.status, decision.code, decision.message, decision),
          token,
        )
    }
  }

  const decideFor = (
    request: GateRequest,
    token: AccessToken,
    proof: CheckedProof | undefined,
    info: RequestInfo | undefined,
  ): GateDecision | Promise<GateDecision> => {
    if (!policy) return admitted(request, token, { parsedBody: info?.parsedBody }, proof)
    const failed = (error: unknown) => unavailable(request, 'policy_failed', error, token)
    try {
      const decided = policy.decide(request, token, info?.parsedBody)
      if ('outcome' in decided) return decide(request, token, decided, proof)
      return decided.then((decision) => decide(request, token, decision, proof), failed)
    } catch (error) {
      return failed(error)
    }
  }

  /** Only what says that the token is bad may cost the client its token; all else is our own trouble. */
  const refuseToken = (request: GateRequest, error: unknown, proof?: CheckedProof): GateDecision => {
    if (!(error instanceof TokenInvalid)) return unavailable(request, 'verifier_unavailable', error)
    const details = { dpop: proof !== undefined || error.reason === 'binding' }
    return refuse(request, error.reason, challenge('invalid_token', invalidToken, details))
  }

  /** Whatever the verifier thinks of it; and a bearer token where none may be. @throws TokenInvalid */
  const checkBinding = (token: AccessToken, proof?: CheckedProof): AccessToken => {
    checkBoundKey(token.claims, proof?.jkt)
    if (boundOnly && !proof) throw new TokenInvalid('binding')
    return token
  }

  const verifyAndDecide = async (
    request: GateRequest,
    presented: Presented,
    info: RequestInfo | undefined,
  ): Promise<GateDecision> => {
    let proof: CheckedProof | undefined
    if (presented.scheme === 'DPoP') {
      try {
        proof = await checkProof(request, presented.token)
      } catch (error) {
        return refuseProof(request, error)
      }
    }
    let token: AccessToken
    try {
      token = checkBinding(await verifier.verify(presented.token, resource.identifier, proof?.jkt), proof)
    } catch (error) {
      return refuseToken(request, error, proof)
    }
    // Used up only now: with a token that is none, anybody could fill our memory.
    if (proof) {
      try {
        await proof.use()
      } catch (error) {
        return refuseProof(request, error, token)
      }
    }
    return decideFor(request, token, proof, info)
  }

  return {
    resource,
    metadataUrl: metadata,

    admit(request, info) {
      if (isPreflight(request)) return { admitted: false, response: preflightResponse(request, originAllowed) }
      if (!hostAllowed(request)) {
        logger.warn('refused a request for a foreign Host; if a proxy in front sends it, name it in `hosts`')
        return refuse(request, 'foreign_host', rpcErrorResponse(403, forbidden, 'This Host is not served here'))
      }
      const origin = request.headers.get('origin')
      if (origin !== null && !originAllowed(origin)) {
        return refuse(request, 'foreign_origin', rpcErrorResponse(403, forbidden, 'This Origin is not allowed'))
      }

      const presented = readAccessToken(request.headers.get('authorization'))
      if (presented.kind === 'none') {
        return refuse(request, 'no_token', challenge('invalid_token', 'An access token is needed'))
      }
      if (presented.kind === 'ambiguous') {
        const response = challenge('invalid_request', 'Exactly one Authorization header with one token is needed')
        return refuse(request, 'several_tokens', response)
      }
      if (presented.kind === 'garbage') {
        return refuse(
          request,
          'malformed',
          challenge('invalid_token', invalidToken, { dpop: presented.scheme === 'DPoP' }),
        )
      }

      if (presented.scheme === 'DPoP') return verifyAndDecide(request, presented, info)
      let known: AccessToken | undefined
      try {
        known = verifier.recall?.(presented.token, resource.identifier)
        if (known) checkBinding(known)
      } catch (error) {
        return refuseToken(request, error)
      }
      return known ? decideFor(request, known, undefined, info) : verifyAndDecide(request, presented, info)
    },
  }
}

type Presented = PresentedToken & { readonly kind: 'token' }

type Admitted = Pick<PolicyDecision & { readonly outcome: 'allow' }, 'parsedBody' | 'filter' | 'session'>

interface ChallengeDetails {
  /** The client speaks DPoP, or must. */
  readonly dpop?: boolean
  readonly scopes?: readonly string[]
  readonly headers?: Readonly<Record<string, string>>
}

const noHeaders = {}

const proofNeeded = {
  invalid_dpop_proof: 'A new DPoP proof is needed, for this request and this access token',
  use_dpop_nonce: 'The DPoP proof needs the nonce of the DPoP-Nonce header',
} as const

const invalidToken = 'The access token is expired, revoked or not for this resource'
/** JSON-RPC's range for a server's own errors. */
const forbidden = -32000
/** Seconds. */
const retryAfter = 5
