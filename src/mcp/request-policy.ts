import type { Logger } from '../events/logger.ts'
import type { AccessToken } from '../identity/access-token.ts'
import type { GateRequest, MessageFilter } from '../resource-server/handler.ts'
import type { PolicyDecision, RequestPolicy } from '../resource-server/policy.ts'
import { isModern } from './era.ts'
import { createDecider, type Decider } from './policy/decide.ts'
import type { Verdict } from './policy/evaluate.ts'
import { isListMethod, listFilter } from './policy/list-filter.ts'
import type { AccessPolicy } from './policy/rule.ts'
import { malformed, type ParsedBody, parseBody } from './rpc-body.ts'
import { headersAgree, isKnownMethod, isRemovedMethod, type RpcCall, readCalls, requestId } from './rpc-message.ts'

/**
 * Decides calls before dispatch: an SDK would turn a refusal in a tool into a result, and no client steps up after that. The same
 * decision takes out of lists what their reader may not use. Answers undefined where nothing is required: then bodies are left alone.
 */
export const requestPolicy = (policy: AccessPolicy, logger: Logger): MessagePolicy | undefined => {
  const decider = createDecider(policy)
  if (!decider) return undefined
  const filterFor = (token: AccessToken): MessageFilter =>
    listFilter(decider, token, (error) => logger.error('a policy failed: what it is about is not listed', { error }))

  const decideOn = (request: GateRequest, token: AccessToken, body: ParsedBody): Decided => {
    if (body.outcome !== 'parsed') return body
    const id = requestId(body.value)
    const modern = isModern(request.headers.get('mcp-protocol-version'))
    const read = readCalls(body.value)
    if (!read.ok) {
      if (modern && isRemovedMethod(body.value)) return { ...methodNotFound(read.reason), ...id }
      return { ...malformed(400, -32600, 'Not a JSON-RPC request that can be served', read.reason), ...id }
    }
    if (!headersAgree(read.calls, request.headers.get('mcp-method'), request.headers.get('mcp-name'))) {
      return { ...malformed(400, -32020, 'Mcp-Method or Mcp-Name contradicts the body', 'header_mismatch'), ...id }
    }
    const answer = (verdict: Verdict): PolicyDecision => {
      if (verdict.outcome === 'forbid') {
        // With a session, 404 would mean that it is gone.
        const unknown = modern && read.calls.some(({ method }) => !isKnownMethod(method))
        return { ...(unknown ? methodNotFound(verdict.reason) : verdict), ...id }
      }
      if (verdict.outcome !== 'allow') return verdict
      const allowed = { outcome: 'allow' as const, parsedBody: body.value }
      return read.calls.some(({ method }) => isListMethod(method)) ? { ...allowed, filter: filterFor(token) } : allowed
    }
    const decided = decideAll(decider, read.calls, token)
    return 'outcome' in decided ? answer(decided) : decided.then(answer)
  }

  return {
    decide(request, token, parsedBody, use = (decision) => decision) {
      // Servers that don't look at the method take a body from any: then it is decided on as a POST is.
      if (bodiless.has(request.method)) {
        if (hasBody(request)) {
          return use(malformed(400, -32600, `A ${request.method} has no body here`, 'unexpected_body'))
        }
        // A stream may bring answers to earlier requests.
        return use({ outcome: 'allow', parsedBody, filter: filterFor(token) })
      }
      return parseBody(request, parsedBody, (body) => {
        const decided = decideOn(request, token, body)
        return 'then' in decided ? decided.then(use) : use(decided)
      })
    },
  }
}

type Decided = PolicyDecision | Promise<PolicyDecision>

export interface MessagePolicy extends RequestPolicy {
  /** @param use what is made of the decision: at once, because each promise between costs as much as the decision */
  decide(
    request: GateRequest,
    token: AccessToken,
    parsedBody: unknown,
    use?: (decision: PolicyDecision) => Decided,
  ): Decided
}

/** Requests of all other methods may bring messages. */
export const bodiless: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS'])

const hasBody = ({ headers }: GateRequest): boolean =>
  headers.get('transfer-encoding') !== null || !/^0*$/.test(headers.get('content-length') ?? '')

/** @see MCP 2026-07-28, Streamable HTTP, sending messages */
const methodNotFound = (reason: string) => malformed(404, -32601, 'Method not found', reason)

/** All calls of a body are allowed, or none: what no scope would help counts most. */
const decideAll = (decider: Decider, calls: readonly RpcCall[], token: AccessToken): Verdict | Promise<Verdict> => {
  if (decider.deniesUnlisted && calls.some(({ method }) => !isKnownMethod(method))) {
    return { outcome: 'forbid', reason: 'policy_unlisted' }
  }
  const [call] = calls
  const target = call?.targets[0]
  // Most bodies ask for one thing, and most rules need not wait to say what they do of it.
  if (!call || !target || calls.length + call.targets.length > 2) return decideEach(decider, calls, token)
  return decider.decide(token, call.method, target, false)
}

const decideEach = async (decider: Decider, calls: readonly RpcCall[], token: AccessToken): Promise<Verdict> => {
  const missing = new Set<string>()
  for (const { method, targets } of calls) {
    for (const target of targets) {
      const decided = decider.decide(token, method, target, false)
      const verdict = 'outcome' in decided ? decided : await decided
      if (verdict.outcome === 'forbid') return verdict
      if (verdict.outcome === 'insufficient_scope') for (const scope of verdict.scopes) missing.add(scope)
    }
  }
  return missing.size > 0 ? { outcome: 'insufficient_scope', scopes: [...missing] } : { outcome: 'allow' }
}
