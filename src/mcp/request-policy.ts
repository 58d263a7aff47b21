import type { AccessToken } from '../identity/access-token.ts'
import type { GateRequest } from '../resource-server/handler.ts'
import type { PolicyDecision, RequestPolicy } from '../resource-server/policy.ts'
import { readBody } from './body.ts'
import { hasDuplicateKeys } from './duplicate-keys.ts'
import { headersAgree, type RpcCall, readCalls } from './rpc-message.ts'

/** Which scopes a call needs. */
export interface CallRequirements {
  /** By the tool's name: `{ notes_add: ['notes:write'] }`. A tool that is not named needs only a valid token. */
  readonly tools?: Readonly<Record<string, readonly string[]>> | undefined
}

/**
 * Decides calls by the scopes that they need, before dispatch: an SDK would turn a refusal in a tool into a result, and no client steps
 * up after that. Answers undefined where nothing is required: then bodies are left alone.
 */
export const scopePolicy = ({ tools = {} }: CallRequirements): RequestPolicy | undefined => {
  const byName = new Map(Object.entries(tools))
  if (byName.size === 0) return undefined
  return callPolicy(({ method, name }) =>
    method === 'tools/call' && name !== undefined ? byName.get(name) : undefined,
  )
}

/** @param required the scopes that a call needs; undefined or none: a valid token is enough */
const callPolicy = (required: (call: RpcCall) => readonly string[] | undefined): RequestPolicy => ({
  async decide(request, token, parsedBody) {
    if (request.method !== 'POST') return { outcome: 'allow', parsedBody }
    const body = await parse(request, parsedBody)
    if (body.outcome !== 'parsed') return body
    const read = readCalls(body.value)
    if (!read.ok) return malformed(400, -32600, 'Not a JSON-RPC request that can be served', read.reason)
    if (!headersAgree(read.calls, request.headers.get('mcp-method'), request.headers.get('mcp-name'))) {
      return malformed(400, -32020, 'Mcp-Method or Mcp-Name contradicts the body', 'header_mismatch')
    }
    const missing = missingScopes(read.calls, token, required)
    if (missing.length > 0) return { outcome: 'insufficient_scope', scopes: missing }
    return { outcome: 'allow', parsedBody: body.value }
  },
})

const missingScopes = (
  calls: readonly RpcCall[],
  token: AccessToken,
  required: (call: RpcCall) => readonly string[] | undefined,
): readonly string[] => {
  const missing = calls.flatMap((call) => required(call) ?? []).filter((scope) => !token.scopes.includes(scope))
  return [...new Set(missing)]
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
