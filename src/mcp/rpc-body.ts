import type { GateRequest } from '../resource-server/handler.ts'
import type { PolicyDecision } from '../resource-server/policy.ts'
import { type ReadBody, readBody } from './body.ts'
import { hasDuplicateKeys } from './duplicate-keys.ts'
import { isTooDeep, shortestTooDeep } from './json-depth.ts'

type Malformed = PolicyDecision & { readonly outcome: 'malformed' }

export type ParsedBody = { readonly outcome: 'parsed'; readonly value: unknown } | Malformed

/**
 * The JSON body of a request, which means one thing to whoever reads it again.
 * @param parsedBody where the host read it already
 * @param use what is made of it
 */
export const parseBody = <T>(
  request: GateRequest,
  parsedBody: unknown,
  use: (body: ParsedBody) => T | Promise<T>,
): T | Promise<T> => {
  if (parsedBody === undefined) return readBody(request, maximumBody, (body) => use(parse(body)))
  return use(isTooDeep(parsedBody) ? tooDeep : unambiguous(parsedBody))
}

/** What is copied by assignment inherits from such a member what it has not itself: then its copy means something else than what is decided on. */
const unambiguous = (value: unknown): ParsedBody => {
  const ambiguous = Array.isArray(value) ? value.some(setsPrototype) : setsPrototype(value)
  return ambiguous ? prototypeMember : { outcome: 'parsed', value }
}

const setsPrototype = (message: unknown): boolean =>
  hasPrototype(message) || hasPrototype((message as { readonly params?: unknown } | null | undefined)?.params)

const hasPrototype = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, '__proto__')

const parse = (body: ReadBody): ParsedBody => {
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
  if (body.text.length > shortestTooDeep && isTooDeep(value)) return tooDeep
  return unambiguous(value)
}

export const malformed = (status: Malformed['status'], code: number, message: string, reason: string): Malformed => ({
  outcome: 'malformed',
  status,
  code,
  message,
  reason,
})

const prototypeMember = malformed(400, -32600, 'A member is named __proto__', 'prototype_member')
const tooDeep = malformed(400, -32600, 'The request body is nested too deeply', 'body_too_deep')

/** Bytes; the SDKs' own bound. */
const maximumBody = 4 * 1024 * 1024
