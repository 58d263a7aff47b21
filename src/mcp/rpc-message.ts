import { decodeHeaderValue } from './header-value.ts'

/** One thing that a request body asks for. */
export interface RpcCall {
  readonly method: string
  /** What is called: a tool's or prompt's name, a resource's URI. Undefined for methods that name nothing. */
  readonly name: string | undefined
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
    const source = nameSource(method)
    if (source === undefined) {
      calls.push({ method, name: undefined })
      continue
    }
    const name = isObject(params) && Object.hasOwn(params, source) ? params[source] : undefined
    if (typeof name !== 'string') return { ok: false, reason: 'nameless_call' }
    calls.push({ method, name })
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

const nameSource = (method: string): 'name' | 'uri' | undefined => {
  switch (method) {
    case 'tools/call':
    case 'prompts/get':
      return 'name'
    case 'resources/read':
    case 'resources/subscribe':
      return 'uri'
    default:
      return undefined
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const maximumBatch = 100
