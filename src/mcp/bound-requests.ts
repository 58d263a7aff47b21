import { hashStrings } from '../crypto/hash.ts'
import type { AccessToken } from '../identity/access-token.ts'
import type { GateRequest, MessageFilter, SessionIds } from '../resource-server/handler.ts'
import type { PolicyDecision, RequestPolicy } from '../resource-server/policy.ts'
import type { Binding } from './binding.ts'
import { canonicalJson } from './canonical-json.ts'
import { isModern } from './era.ts'
import { malformed, parseBody } from './rpc-body.ts'
import { requestId } from './rpc-message.ts'

/**
 * Binds sessions (`Mcp-Session-Id`, before 2026-07-28) and `requestState` (since) to the caller that they were given to, and then asks the policy.
 * The server behind the gate sees its own ids and states, callers see ours; another's is refused as one that never was.
 * @see MCP 2025-11-25, Streamable HTTP, session management; MCP 2026-07-28, multi round-trip requests, server requirements
 */
export const bindRequests = (
  policy: RequestPolicy | undefined,
  binding: () => Binding | Promise<Binding>,
): RequestPolicy => ({
  async decide(request, token, parsedBody) {
    const made = binding()
    const bound = made instanceof Promise ? await made : made
    const modern = isModern(request.headers.get('mcp-protocol-version'))
    const presented = modern ? null : request.headers.get('mcp-session-id')
    const requested = presented === null ? undefined : await bound.readSession(presented, token)
    if (presented !== null && requested === undefined) {
      return malformed(404, -32001, 'Session not found', 'session_mismatch')
    }
    const session: SessionIds = { requested, issue: (id) => bound.issueSession(id, token) }

    if (!modern || request.method !== 'POST' || !isJson(request)) {
      const decision = policy
        ? await policy.decide(request, token, parsedBody)
        : { outcome: 'allow' as const, parsedBody }
      return decision.outcome === 'allow' ? { ...decision, session } : decision
    }
    const body = await parseBody(request, parsedBody)
    if (body.outcome !== 'parsed') return body
    const opened = await openStates(bound, body.value, token)
    if (opened.outcome !== 'opened') return opened
    const decision = policy
      ? await policy.decide(request, token, opened.value)
      : { outcome: 'allow' as const, parsedBody: opened.value }
    if (decision.outcome !== 'allow') return decision
    const filter = decision.filter ?? stateFilter(bound, opened.value, token)
    return { ...decision, session, ...(filter && { filter }) }
  },
})

type Opened =
  | { readonly outcome: 'opened'; readonly value: unknown }
  | (PolicyDecision & { readonly outcome: 'malformed' })

/** A body with the server's own state in place of what the client holds. */
const openStates = async (binding: Binding, body: unknown, token: AccessToken): Promise<Opened> => {
  if (Array.isArray(body)) {
    // There are no batches where there is state.
    return body.some((message) => paramsOf(message)?.requestState !== undefined)
      ? invalidState(body)
      : { outcome: 'opened', value: body }
  }
  const params = paramsOf(body)
  if (!params || !Object.hasOwn(params, 'requestState')) return { outcome: 'opened', value: body }
  const { requestState: presented } = params
  const message = body as Message
  const state =
    typeof presented === 'string' ? await binding.openState(presented, token, requestOf(message)) : undefined
  if (state === undefined) return invalidState(message)
  return { outcome: 'opened', value: { ...message, params: { ...params, requestState: state } } }
}

/** As the SDK refuses a state that its own check doesn't take. */
const invalidState = (body: unknown): PolicyDecision & { readonly outcome: 'malformed' } => ({
  ...malformed(400, -32602, 'Invalid or expired requestState', 'request_state_mismatch'),
  data: { reason: 'invalid_request_state' },
  ...requestId(body),
})

/** Seals the state in the answer to a call that may ask for input. Undefined for all other messages. */
const stateFilter = (binding: Binding, body: unknown, token: AccessToken): MessageFilter | undefined => {
  const message = body as Message | undefined
  if (typeof message?.method !== 'string' || !asking.has(message.method)) return undefined
  const seal = async (answer: unknown): Promise<unknown> => {
    const result = (answer as { result?: Result } | null)?.result
    if (typeof result?.requestState !== 'string' || result.resultType !== 'input_required') return answer
    const requestState = binding.sealState(result.requestState, token, requestOf(message))
    return { ...(answer as object), result: { ...result, requestState } }
  }
  return Object.assign(seal, { concerns: (text: string) => text.includes('requestState'), ifReadable: true })
}

interface Message {
  readonly method?: unknown
  readonly params?: Readonly<Record<string, unknown>>
}

interface Result {
  readonly resultType?: unknown
  readonly requestState?: unknown
}

/** What a state belongs to: a confirmation of one call must not confirm another. */
const requestOf = ({ method, params = {} }: Message): string =>
  hashStrings(String(method), canonicalJson(params.name ?? params.uri), canonicalJson(params.arguments))

const paramsOf = (message: unknown): Readonly<Record<string, unknown>> | undefined => {
  const params = (message as Message | null | undefined)?.params
  return typeof params === 'object' && params !== null && !Array.isArray(params) ? params : undefined
}

const isJson = ({ headers }: GateRequest): boolean =>
  headers.get('content-type')?.split(';')[0]?.trim().toLowerCase() === 'application/json'

/** @see MCP 2026-07-28, multi round-trip requests, supported requests */
const asking: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read'])
