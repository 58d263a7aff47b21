import type { JsonObject } from '../identity/json.ts'
import { decodeHeaderValue } from './header-value.ts'
import type { Target } from './policy/decide.ts'

/** One thing that a request body asks for. */
export interface RpcCall {
  readonly method: string
  /** What is called: a tool's or prompt's name, a resource's URI. Undefined for methods that name nothing. */
  readonly name: string | undefined
  /** All that is decided on. */
  readonly targets: readonly Target[]
}

export type RpcBody =
  | { readonly ok: true; readonly calls: readonly RpcCall[] }
  | { readonly ok: false; readonly reason: string }

/**
 * What a JSON-RPC body asks for: every member of a batch, and nothing guessed. Responses of a client to the server ask for nothing.
 */
export const readCalls = (body: unknown): RpcBody => {
  const messages = Array.isArray(body) ? body : [body]
  if (messages.length === 0 || messages.length > maximumBatch) return { ok: false, reason: 'batch_size' }
  const calls: RpcCall[] = []
  for (const message of messages as unknown[]) {
    if (!isObject(message)) return { ok: false, reason: 'not_json_rpc' }
    if (!Object.hasOwn(message, 'method')) {
      if (!Object.hasOwn(message, 'result') && !Object.hasOwn(message, 'error'))
        return { ok: false, reason: 'not_json_rpc' }
      continue
    }
    const { method, params } = message
    if (typeof method !== 'string') return { ok: false, reason: 'not_json_rpc' }
    const targets = targetsOf(method, isObject(params) ? params : {})
    if (targets === undefined) return { ok: false, reason: 'nameless_call' }
    calls.push({ method, name: named.has(method) ? targets[0]?.name : undefined, targets })
  }
  return { ok: true, calls }
}

/**
 * Whether the headers that repeat a body's method and name say the same as the body. Whoever routes by them must not see another call
 * than the one that is decided on. Absent ones contradict nothing: sessions of earlier revisions don't send them.
 */
export const headersAgree = (calls: readonly RpcCall[], method: string | null, name: string | null): boolean => {
  if (method === null && name === null) return true
  const [call] = calls
  if (calls.length !== 1 || !call) return false
  if (method !== null && method !== call.method) return false
  return name === null || call.name === undefined || decodeHeaderValue(name) === call.name
}

/** The id that an answer to a body must have, where it is one request that has one. */
export const requestId = (body: unknown): { readonly id?: string | number } => {
  const id = isObject(body) ? own(body, 'id') : undefined
  return typeof id === 'string' || typeof id === 'number' ? { id } : {}
}

/** Whether a body asks for a method that the revisions since 2026-07-28 don't have. */
export const isRemovedMethod = (body: unknown): boolean => isObject(body) && removed.has(String(own(body, 'method')))

/** Methods that a server may have and that use none of its tools, resources or prompts by name. */
export const isKnownMethod = (method: string): boolean =>
  known.has(method) || named.has(method) || method.startsWith('notifications/')

/** Undefined where a method doesn't say what it is about. */
const targetsOf = (method: string, params: Record<string, unknown>): readonly Target[] | undefined => {
  switch (method) {
    case 'tools/call':
      return one('tools', own(params, 'name'), own(params, 'arguments'))
    case 'prompts/get':
      return one('prompts', own(params, 'name'), own(params, 'arguments'))
    case 'resources/read':
    case 'resources/subscribe':
    case 'resources/directory/read':
    case 'skills/get':
      return one('resources', own(params, 'uri'))
    case 'completion/complete':
      return completed(own(params, 'ref'))
    case 'subscriptions/listen':
      return subscribed(own(params, 'notifications'))
    default:
      return []
  }
}

const one = (kind: Target['kind'], name: unknown, args?: unknown): readonly Target[] | undefined =>
  typeof name === 'string' ? [{ kind, name, arguments: isObject(args) ? (args as JsonObject) : undefined }] : undefined

/** What would be completed tells of what there is. */
const completed = (ref: unknown): readonly Target[] | undefined => {
  if (!isObject(ref)) return undefined
  if (own(ref, 'type') === 'ref/prompt') return one('prompts', own(ref, 'name'))
  const uri = own(ref, 'uri')
  if (own(ref, 'type') !== 'ref/resource' || typeof uri !== 'string') return undefined
  return [{ kind: 'resources', name: uri, template: true }]
}

const subscribed = (filter: unknown): readonly Target[] | undefined => {
  const uris = isObject(filter) ? own(filter, 'resourceSubscriptions') : undefined
  if (uris === undefined) return []
  if (!Array.isArray(uris) || !uris.every((uri) => typeof uri === 'string')) return undefined
  return uris.map((name) => ({ kind: 'resources', name }))
}

const own = (values: Record<string, unknown>, name: string): unknown =>
  Object.hasOwn(values, name) ? values[name] : undefined

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const named = new Set([
  ...['tools/call', 'prompts/get', 'resources/read', 'resources/subscribe'],
  ...['resources/directory/read', 'skills/get'],
])

const known = new Set([
  ...['initialize', 'ping', 'server/discover', 'logging/setLevel', 'completion/complete', 'subscriptions/listen'],
  ...['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list', 'resources/unsubscribe'],
  ...['tasks/get', 'tasks/update', 'tasks/cancel', 'tasks/list', 'tasks/result', 'skills/list'],
])

const removed = new Set(['resources/subscribe', 'resources/unsubscribe', 'initialize', 'ping', 'logging/setLevel'])

const maximumBatch = 100
