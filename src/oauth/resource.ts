/** A protected resource as its host configures it. */
export interface ResourceOptions {
  /** What people read, for display and for the protected resource metadata's `resource_name`. */
  readonly name?: string
  /** Scope to what it allows, in words that a person understands: shown on the consent page. */
  readonly scopes?: Readonly<Record<string, string>>
  /** Granted when a client asks for none, and named in the first challenge; without it all of `scopes`. */
  readonly defaultScopes?: readonly string[]
}

/** A resource whose configuration was checked. */
export interface Resource {
  /** The resource indicator: an absolute URL without fragment, exactly as clients type it. @see RFC 8707 §2 */
  readonly identifier: string
  readonly name: string | undefined
  readonly scopes: Readonly<Record<string, string>>
  readonly defaultScopes: readonly string[]
}

/** Equal as resource indicators, but for one trailing slash: clients differ in it for an origin. */
export const sameResource = (a: string, b: string): boolean => withoutTrailingSlash(a) === withoutTrailingSlash(b)

const withoutTrailingSlash = (url: string): string => (url.endsWith('/') ? url.slice(0, -1) : url)
