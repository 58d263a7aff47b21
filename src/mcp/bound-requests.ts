import { hashStrings } from '../crypto/hash.ts'
import type { Logger } from '../events/logger.ts'
import type { AccessToken } from '../identity/access-token.ts'
import type { EventIds, GateRequest, MessageFilter, SessionIds } from '../resource-server/handler.ts'
import type { PolicyDecision, RequestPolicy } from '../resource-server/policy.ts'
import type { Binding } from './binding.ts'
import { canonicalJson } from './canonical-json.ts'
import { boundEndpoint, readEndpoint } from './endpoint-url.ts'
import { isModern } from './era.ts'
import { bodiless, type MessagePolicy } from './request-policy.ts'
import { malformed, type ParsedBody, parseBody } from './rpc-body.ts'
import { requestId } from './rpc-message.ts'

/**
 * Binds what a server gives out to the caller that it was given to: sessions (`Mcp-Session-Id`) and event ids (`Last-Event-ID`) before 2026-07-28,
 * sessions in the URLs of the HTTP+SSE transport, and `requestState` since. The server behind the gate sees its own ids and states, callers see
 * ours; another's is refused as one that never was. Ids are read before the policy is asked, states are opened after.
 * @see MCP 2025-11-25, Streamable HTTP, session management, resumability; MCP 2024-11-05, HTTP with SSE; MCP 2026-07-28, multi round-trip requests
 */
export const bindRequests = (
  policy: MessagePolicy | undefined,
  binding: () => Binding | Promise<Binding>,
  logger: Logger,
): RequestPolicy => {
  const decideBound = (
    bound: Binding,
    named: NamedIds,
    request: GateRequest,
    token: AccessToken,
    parsedBody: unknown,
  ): Decided => {
    const modern = isModern(versionOf(request))
    const session = sessionIds(bound, modern ? undefined : named, token, logger)
    const stateful = modern && mayBringState(request)
    const bind = (decision: PolicyDecision): Decided => {
      if (decision.outcome !== 'allow') return decision
      return stateful
        ? withState(bound, decision, session, token)
        : allowed(decision.parsedBody, decision.filter, session)
    }
    if (policy) return policy.decide(request, token, parsedBody, bind)
    if (!stateful) return allowed(parsedBody, undefined, session)
    return parseBody(request, parsedBody, (body) => bind(allowRead(body)))
  }

  const decideNamed = async (
    binding: Binding | Promise<Binding>,
    request: GateRequest,
    token: AccessToken,
    parsedBody: unknown,
  ): Promise<PolicyDecision> => {
    const bound = await binding
    const named = isModern(versionOf(request)) ? nothingNamed : await readIds(bound, request, token)
    // Whatever revision the request says: servers of that transport don't ask.
    if (named === 'foreign' || (await namesForeignEndpoint(bound, request.url, token))) {
      return malformed(404, -32001, 'Session not found', 'session_mismatch')
    }
    return decideBound(bound, named, request, token, parsedBody)
  }

  return {
    decide(request, token, parsedBody) {
      const bound = binding()
      if ('then' in bound || namesBound(request)) return decideNamed(bound, request, token, parsedBody)
      // Most calls name nothing that is bound: they wait for nothing here.
      return decideBound(bound, nothingNamed, request, token, parsedBody)
    },
  }
}

type Allowed = PolicyDecision & { readonly outcome: 'allow' }
type Decided = PolicyDecision | Promise<PolicyDecision>

/** Whether a request may name what was given to a caller, in its headers or its URL. */
const namesBound = (request: GateRequest): boolean =>
  request.headers.get('mcp-session-id') !== null ||
  request.headers.get('last-event-id') !== null ||
  request.url.includes('?')

const mayBringState = (request: GateRequest): boolean => !bodiless.has(request.method) && isJson(request)

const versionOf = ({ headers }: GateRequest): string | null => headers.get('mcp-protocol-version')

const allowed = (parsedBody: unknown, filter: MessageFilter | undefined, session: SessionIds): Allowed =>
  filter ? { outcome: 'allow', parsedBody, filter, session } : { outcome: 'allow', parsedBody, session }

/** Without a policy: whatever can be read. */
const allowRead = (body: ParsedBody): PolicyDecision =>
  body.outcome === 'parsed' ? { outcome: 'allow', parsedBody: body.value } : body

/** @param named undefined since 2026-07-28, where there are no sessions */
const sessionIds = (bound: Binding, named: NamedIds | undefined, token: AccessToken, logger: Logger): SessionIds => ({
  requested: named?.session,
  issue: (id) => bound.issueId('session', id, token),
  events: named && eventIds(bound, named.event, token, logger),
})

const nothingNamed = { session: undefined, event: undefined }

interface NamedIds {
  readonly session: string | undefined
  readonly event: string | undefined
}

/** The server's ids in the headers of a request; `foreign` where one was not issued to this caller. */
const readIds = async (
  binding: Binding,
  { headers }: GateRequest,
  token: AccessToken,
): Promise<NamedIds | 'foreign'> => {
  const session = headers.get('mcp-session-id')
  const event = headers.get('last-event-id')
  const named = {
    session: session === null ? undefined : await binding.readId('session', session, token),
    event: event === null ? undefined : await binding.readId('event', event, token),
  }
  const known = (session === null || named.session !== undefined) && (event === null || named.event !== undefined)
  return known ? named : 'foreign'
}

const namesForeignEndpoint = async (binding: Binding, url: string, token: AccessToken): Promise<boolean> => {
  const endpoint = readEndpoint(url)
  if (endpoint === undefined) return false
  if (endpoint === 'ambiguous' || endpoint.bound === undefined) return true
  return (await binding.readId('endpoint', endpoint.bound, token)) !== endpoint.session
}

const eventIds = (binding: Binding, requested: string | undefined, token: AccessToken, logger: Logger): EventIds => ({
  requested,
  issue: (id) => binding.issueId('event', id, token),
  issueEndpoint(url) {
    const endpoint = readEndpoint(url)
    if (endpoint !== undefined && endpoint !== 'ambiguous' && endpoint.bound === undefined) {
      return boundEndpoint(url, binding.issueId('endpoint', endpoint.session, token))
    }
    const problem = 'an endpoint event must name its session once, as `sessionId`: no other can be bound to its caller'
    logger.error(`a stream was ended: ${problem}`)
    throw new Error(problem)
  },
})

/** Gives the server its own state in place of what the client holds, and seals what it answers with. */
const withState = (binding: Binding, decision: Allowed, session: SessionIds, token: AccessToken): Decided => {
  const { parsedBody: body } = decision
  const bound = (parsedBody: unknown): PolicyDecision => {
    return allowed(parsedBody, decision.filter ?? stateFilter(binding, parsedBody, token), session)
  }
  // There are no batches where there is state.
  if (Array.isArray(body)) return body.some(bringsState) ? invalidState(body) : bound(body)
  return bringsState(body) ? openState(binding, body, token, bound) : bound(body)
}

const bringsState = (message: unknown): message is MessageWithState =>
  Object.hasOwn(paramsOf(message) ?? {}, 'requestState')

const openState = async (
  binding: Binding,
  message: MessageWithState,
  token: AccessToken,
  bound: (parsedBody: unknown) => PolicyDecision,
): Promise<PolicyDecision> => {
  const { requestState: presented } = message.params
  const state =
    typeof presented === 'string' ? await binding.openState(presented, token, requestOf(message)) : undefined
  if (state === undefined) return invalidState(message)
  return bound({ ...message, params: { ...message.params, requestState: state } })
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
  return Object.assign(seal, { concerns: mayNameState, ifReadable: true })
}

/** In its letters, or with one of them escaped: as JSON writes those, when somebody wants it to. */
const mayNameState = (text: string): boolean => text.includes('requestState') || text.includes('\\u00')

interface Message {
  readonly method?: unknown
  readonly params?: Readonly<Record<string, unknown>>
}

interface MessageWithState extends Message {
  readonly params: Readonly<Record<string, unknown>>
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
