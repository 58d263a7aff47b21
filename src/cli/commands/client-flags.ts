import { readFileSync } from 'node:fs'
import type { ClientGrantType, ClientSettings } from '../../authorization-server/client-options.ts'
import { CommandFailed, UsageError } from '../usage.ts'
import { type Command, text, texts, type Values } from './command.ts'

const many = { type: 'string', multiple: true } as const

/** What a client may do, as flags: those of `create` and of `update`. */
export const clientFlags: NonNullable<Command['options']> = {
  name: { type: 'string' },
  uri: { type: 'string' },
  'redirect-uri': many,
  jwks: { type: 'string' },
  'jwks-uri': { type: 'string' },
  'grant-type': many,
  scopes: many,
  introspects: many,
  exchange: { type: 'boolean' },
  'exchange-serves': many,
  'exchange-from': many,
  'exchange-to': many,
  'exchange-actor': many,
  'exchange-upstream': many,
  'exchange-impersonates': { type: 'boolean' },
  'may-act': { type: 'string' },
  'dpop-bound': { type: 'boolean' },
  'require-pushed-requests': { type: 'boolean' },
}

/** The settings that the flags say; whether they can be is checked where they are used. */
export const clientSettings = (values: Values): ClientSettings => ({
  name: text(values, 'name'),
  uri: text(values, 'uri'),
  redirectUris: texts(values, 'redirect-uri'),
  jwks: keysIn(text(values, 'jwks')),
  jwksUri: text(values, 'jwks-uri'),
  // Checked with all else.
  grantTypes: some(texts(values, 'grant-type')) as readonly ClientGrantType[] | undefined,
  scopes: byResource(values, 'scopes'),
  introspects: some(texts(values, 'introspects')),
  exchange: exchangeSettings(values),
  mayAct: text(values, 'may-act'),
  dpopBoundAccessTokens: values['dpop-bound'] === true || undefined,
  requirePushedRequests: values['require-pushed-requests'] === true || undefined,
})

/** A JWK Set, or one key. What else is in the file is checked where it is used, and quoted nowhere. */
const keysIn = (file: string | undefined): ClientSettings['jwks'] => {
  if (file === undefined) return undefined
  const read = (): unknown => {
    try {
      return JSON.parse(readFileSync(file, 'utf8'))
    } catch (error) {
      throw new CommandFailed(
        `the keys in ${file} can’t be read: ${(error as NodeJS.ErrnoException).code ?? 'no JSON'}`,
      )
    }
  }
  const found = read()
  const isKey = typeof found === 'object' && found !== null && 'kty' in found
  return (isKey ? { keys: [found] } : found) as ClientSettings['jwks']
}

const exchangeSettings = (values: Values): ClientSettings['exchange'] => {
  if (!Object.keys(values).some((name) => name === 'exchange' || name.startsWith('exchange-'))) return undefined
  return {
    serves: some(texts(values, 'exchange-serves')),
    from: some(texts(values, 'exchange-from')),
    to: byResource(values, 'exchange-to'),
    actors: some(texts(values, 'exchange-actor')),
    upstream: some(texts(values, 'exchange-upstream')),
    impersonates: values['exchange-impersonates'] === true || undefined,
  }
}

const some = (given: readonly string[]): readonly string[] | undefined => (given.length === 0 ? undefined : given)

/** `"/mcp notes:read notes:write"`: neither a resource nor a scope has a space. */
const byResource = (values: Values, name: string): Readonly<Record<string, readonly string[]>> | undefined => {
  const given = texts(values, name).map((each) => each.split(' ').filter(Boolean))
  const entries = given.map(([resource, ...scopes]): [string, string[]] => {
    if (resource === undefined || scopes.length === 0) {
      throw new UsageError(`--${name} is a resource and scopes of it, like "/mcp notes:read notes:write"`)
    }
    return [resource, scopes]
  })
  if (new Set(entries.map(([resource]) => resource)).size < entries.length) {
    throw new UsageError(`--${name} names each resource once`)
  }
  return entries.length === 0 ? undefined : Object.fromEntries(entries)
}
