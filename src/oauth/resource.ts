import { ConfigurationError } from './configuration-error.ts'
import { isLoopbackHost } from './loopback.ts'
import type { ScopeHierarchy } from './scope-hierarchy.ts'

/** A protected resource as its host configures it. */
export interface ResourceOptions {
  /** What people read, for display and for the protected resource metadata's `resource_name`. */
  readonly name?: string
  /** Scope to what it allows, in words that a person understands: shown on the consent page. */
  readonly scopes?: Readonly<Record<string, string>>
  /** Granted when a client asks for none, and named in the first challenge; without it all of `scopes`. */
  readonly defaultScopes?: readonly string[]
  /** What a scope allows besides itself: `{ 'notes:write': ['notes:read'] }`. Whoever is granted it is granted that, too. */
  readonly implies?: ScopeHierarchy | undefined
  /** Takes only access tokens that are bound to a key of their client. @see RFC 9728 §2, RFC 9449 */
  readonly dpopBoundAccessTokensRequired?: boolean
  /** In place of the server's, in seconds. */
  readonly lifetimes?: { readonly accessToken?: number | undefined } | undefined
}

/** A resource whose configuration was checked. */
export interface Resource {
  /** The resource indicator: an absolute URL without fragment, exactly as clients type it. @see RFC 8707 §2 */
  readonly identifier: string
  readonly name: string | undefined
  readonly scopes: Readonly<Record<string, string>>
  readonly defaultScopes: readonly string[]
  readonly implies?: ScopeHierarchy
  /** Seconds, where it has one of its own. */
  readonly accessTokenLifetime?: number
  readonly dpopBoundAccessTokensRequired?: boolean
}

/**
 * Checks the configured resources. A key is an absolute path on the origin of `url`, or an absolute URL.
 * @throws ConfigurationError with the path of what is wrong
 */
export const resolveResources = (url: string, options: Readonly<Record<string, ResourceOptions>>): Resource[] => {
  const resources: Resource[] = []
  for (const [key, value] of Object.entries(options)) {
    const path = `resources[${JSON.stringify(key)}]`
    const resource = resolveResource(url, key, value, path)
    if (findResource(resources, resource.identifier)) throw new ConfigurationError(path, 'each resource only once')
    resources.push(resource)
  }
  return resources
}

const resolveResource = (url: string, key: string, options: ResourceOptions, path: string): Resource => {
  checkShape(options, path)
  const scopes = options.scopes ?? {}
  for (const [scope, words] of Object.entries(scopes))
    checkScope(scope, words, `${path}.scopes[${JSON.stringify(scope)}]`)
  const defaultScopes = options.defaultScopes ?? Object.keys(scopes)
  defaultScopes.forEach((scope, index) => {
    if (!Object.hasOwn(scopes, scope)) {
      throw new ConfigurationError(`${path}.defaultScopes[${index}]`, `one of ${path}.scopes`)
    }
  })
  return {
    identifier: identifierOf(url, key, path),
    name: options.name,
    scopes: { ...scopes },
    defaultScopes: [...new Set(defaultScopes)],
    ...(options.implies ? { implies: checkedHierarchy(options.implies, scopes, path) } : {}),
    ...(options.lifetimes?.accessToken === undefined ? {} : { accessTokenLifetime: options.lifetimes.accessToken }),
    ...(options.dpopBoundAccessTokensRequired ? { dpopBoundAccessTokensRequired: true } : {}),
  }
}

const checkedHierarchy = (implies: unknown, scopes: Readonly<Record<string, string>>, path: string): ScopeHierarchy => {
  if (!isRecord(implies)) throw new ConfigurationError(`${path}.implies`, 'an object')
  for (const [scope, implied] of Object.entries(implies)) {
    const here = `${path}.implies[${JSON.stringify(scope)}]`
    if (!Array.isArray(implied)) throw new ConfigurationError(here, 'a list of scopes')
    const unknown = [scope, ...implied].find((each) => typeof each !== 'string' || !Object.hasOwn(scopes, each))
    if (unknown !== undefined) throw new ConfigurationError(here, `scopes of this resource, not "${unknown}"`)
  }
  return structuredClone(implies) as ScopeHierarchy
}

/** Types don't reach a configuration that was written in JavaScript or YAML; a member misspelt would be a scope forgotten. */
const checkShape = (options: unknown, path: string): void => {
  if (!isRecord(options)) throw new ConfigurationError(path, 'an object')
  const unknownMember = Object.keys(options).find((name) => !members.includes(name))
  if (unknownMember !== undefined) {
    throw new ConfigurationError(`${path}.${unknownMember}`, `only ${members.join(', ')} here`)
  }
  const { name, scopes, defaultScopes, lifetimes, dpopBoundAccessTokensRequired: bound } = options
  if (name !== undefined && typeof name !== 'string') throw new ConfigurationError(`${path}.name`, 'a text')
  if (scopes !== undefined && !isRecord(scopes)) throw new ConfigurationError(`${path}.scopes`, 'an object')
  if (defaultScopes !== undefined && !Array.isArray(defaultScopes)) {
    throw new ConfigurationError(`${path}.defaultScopes`, 'a list')
  }
  if (lifetimes !== undefined && !isRecord(lifetimes)) throw new ConfigurationError(`${path}.lifetimes`, 'an object')
  if (bound !== undefined && typeof bound !== 'boolean') {
    throw new ConfigurationError(`${path}.dpopBoundAccessTokensRequired`, 'true or false')
  }
}

const members: readonly string[] = [
  'name',
  'scopes',
  'defaultScopes',
  'implies',
  'lifetimes',
  'dpopBoundAccessTokensRequired',
]

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const checkScope = (scope: string, words: string, path: string): void => {
  if (!/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(scope)) {
    throw new ConfigurationError(path, 'a scope without spaces, quotes and backslashes (RFC 6749 §3.3)')
  }
  if (scope === 'offline_access') throw new ConfigurationError(path, 'no offline_access: it is no scope of a resource')
  if (typeof words !== 'string' || words.trim() === '') {
    throw new ConfigurationError(path, 'what the scope allows, in words for the consent page')
  }
}

const identifierOf = (url: string, key: string, path: string): string => {
  const expected = 'an absolute path like "/mcp", or an https URL, without query and fragment and in its usual form'
  const origin = new URL(url).origin
  const text = key === '/' ? origin : key.startsWith('/') ? `${origin}${key}` : key
  const parsed = URL.canParse(text) ? new URL(text) : undefined
  if (!parsed || key.startsWith('//') || /[?#]/.test(text) || (parsed.href !== text && parsed.href !== `${text}/`)) {
    throw new ConfigurationError(path, expected)
  }
  const loopback = isLoopbackHost(parsed.hostname)
  if (parsed.protocol !== 'https:' && !(parsed.protocol === 'http:' && loopback))
    throw new ConfigurationError(path, expected)
  if (parsed.username !== '' || parsed.password !== '') throw new ConfigurationError(path, expected)
  return text
}

/** The configured resource that a request's resource indicator names. */
export const findResource = (resources: readonly Resource[], indicator: string): Resource | undefined =>
  resources.find((resource) => sameResource(resource.identifier, indicator))

/**
 * Equal as resource indicators, but for one trailing slash, in which clients differ for an origin, and for the case of scheme and host.
 * An audience that is no URL equals only itself.
 */
export const sameResource = (a: string, b: string): boolean => a === b || comparable(a) === comparable(b)

const comparable = (identifier: string): string => {
  const text = identifier.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, (origin) => origin.toLowerCase())
  return text.endsWith('/') && text.includes('://') ? text.slice(0, -1) : text
}
