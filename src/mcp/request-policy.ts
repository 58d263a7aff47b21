import type { Logger } from '../events/logger.ts'
import type { AccessToken } from '../identity/access-token.ts'
import type { GateRequest, MessageFilter } from '../resource-server/handler.ts'
import type { PolicyDecision, RequestPolicy } from '../resource-server/policy.ts'
import { readBody } from './body.ts'
import { hasDuplicateKeys } from './duplicate-keys.ts'
import { createDecider, type Decider } from './policy/decide.ts'
import type { Verdict } from './policy/evaluate.ts'
import { isListMethod, listFilter } from './policy/list-filter.ts'
import type { AccessPolicy } from './policy/rule.ts'
import { headersAgree, isKnownMethod, type RpcCall, readCalls } from './rpc-message.ts'

/**
 * Decides calls before dispatch: an SDK would turn a refusal in a tool into a result, and no client steps up after that. The same
 * decision takes out of lists what their reader may not use. Answers undefined where nothing is required: then bodies are left alone.
 */
export const requestPolicy = (policy: AccessPolicy, logger: Logger): RequestPolicy | undefined => {
  const decider = createDecider(policy)
  if (!decider) return undefined
  const filterFor = (token: AccessToken): MessageFilter =>
    listFilter(decider, token, (error) => logger.error('a policy failed: what it is about is not listed', { error }))

  return {
    async decide(request, token, parsedBody) {
      // A stream may bring answers to earlier requests.
      if (request.method !== 'POST') return { outcome: 'allow', parsedBody, filter: filterFor(token) }
      const body = await parse(request, parsedBody)
      if (body.outcome !== 'parsed') return body
      const read = readCalls(body.value)
      if (!read.ok) return malformed(400, -32600, 'Not a JSON-RPC request that can be served', read.reason)
      if (!headersAgree(read.calls, request.headers.get('mcp-method'), request.headers.get('mcp-name'))) {
        return malformed(400, -32020, 'Mcp-Method or Mcp-Name contradicts the body', 'header_mismatch')
      }
      const verdict = await decideAll(decider, read.calls, token)
      if (verdict.outcome !== 'allow') return verdict
      const lists = read.calls.some(({ method }) => isListMethod(method))
      return { outcome: 'allow', parsedBody: body.value, ...(lists && { filter: filterFor(token) }) }
    },
  }
}

/** All calls of a body are allowed, or none: what no scope would help counts most. */
const decideAll = async (decider: Decider, calls: readonly RpcCall[], token: AccessToken): Promise<Verdict> => {
  const missing = new Set<string>()
  for (const { method, targets } of calls) {
    if (decider.deniesUnlisted && !isKnownMethod(method)) return { outcome: 'forbid', reason: 'policy_unlisted' }
    for (const target of targets) {
      const decided = decider.decide(token, method, target, false)
      const verdict = decided instanceof Promise ? await decided : decided
      if (verdict.outcome === 'forbid') return verdict
      if (verdict.outcome === 'insufficient_scope') for (const scope of verdict.scopes) missing.add(scope)
    }
  }
  return missing.size > 0 ? { outcome: 'insufficient_scope', scopes: [...missing] } : { outcome: 'allow' }
}

type Parsed =
  | { readonly outcome: 'parsed'; readonly value: unknown }
  | (PolicyDecision & { readonly outcome: 'malformed' })

const parse = async (request: GateRequest, parsedBody: unknown): Promise<Parsed> => {
  if (parsedBody !== undefined) return { outcome: 'parsed', value: parsedBody }
  const body = await readBody(request, maximumBody)
  if (!body.ok) {
    switch (body.problem) {
      case 'too_large':
        return malformed(413, -32000, 'The request body is too large', 'body_too_large')
      case 'encoded':
        return malformed(415, -32000, 'The request body must not be compressed', 'body_encoded')
      case 'unreadable':
        return malformed(400, -32700, 'The request body could not be read', 'body_unreadable')
    }
  }
  let value: unknown
  try {
    value = JSON.parse(body.text)
  } catch {
    return malformed(400, -32700, 'The request body is not JSON', 'body_not_json')
  }
  if (hasDuplicateKeys(body.text)) return malformed(400, -32600, 'A member is there twice', 'duplicate_keys')
  return { outcome: 'parsed', value }
}

const malformed = (
  status: 400 | 413 | 415,
  code: number,
  message: string,
  reason: string,
): PolicyDecision & { outcome: 'malformed' } => ({ outcome: 'malformed', status, code, message, reason })

/** Bytes; the SDKs' own bound. */
const maximumBody = 4 * 1024 * 1024
