import { AsyncLocalStorage } from 'node:async_hooks'
import type { AccessToken, UpstreamClaims, UserToken } from './access-token.ts'

/** What gave a token its types: a `countersign()` or a `resourceServer()`. */
export interface TokenSource<Upstream = UpstreamClaims> {
  /** True for tokens that this very source verified, so that their claims satisfy its schema. */
  vouches(token: AccessToken<unknown>): token is AccessToken<Upstream>
}

// One instance for all copies of the package in a process: an application and its libraries may each bring one.
const slot = Symbol.for('countersign.current-access-token')
const registry = globalThis as { [slot]?: AsyncLocalStorage<AccessToken<unknown>> }
registry[slot] ??= new AsyncLocalStorage()
const storage = registry[slot]

/** Runs `fn`, and all that it starts, with this token as the current one. */
export const withAccessToken = <T>(token: AccessToken<unknown>, fn: () => T): T => storage.run(token, fn)

/** The current access token anywhere below the gate, or undefined. With a source: only if that source verified it. */
export function getAccessToken<Upstream>(source: TokenSource<Upstream>): AccessToken<Upstream> | undefined
export function getAccessToken(): AccessToken | undefined
export function getAccessToken<Upstream>(source?: TokenSource<Upstream>): AccessToken<Upstream> | undefined {
  const token = storage.getStore()
  if (!token || (source && !source.vouches(token))) return undefined
  return token as AccessToken<Upstream>
}

/**
 * The current access token.
 * @throws NoAccessToken outside of the gate, or below the gate of another source
 */
export function requireAccessToken<Upstream>(source: TokenSource<Upstream>): AccessToken<Upstream>
export function requireAccessToken(): AccessToken
export function requireAccessToken<Upstream>(source?: TokenSource<Upstream>): AccessToken<Upstream> {
  const token = source ? getAccessToken(source) : (getAccessToken() as AccessToken<Upstream> | undefined)
  if (!token) throw new NoAccessToken('no verified access token here: is the gate in front of this handler?')
  return token
}

/**
 * The current access token of a person.
 * @throws NoAccessToken as `requireAccessToken`, and for a client's own token: it has no user
 */
export function requireUser<Upstream>(source: TokenSource<Upstream>): UserToken<Upstream>
export function requireUser(): UserToken
export function requireUser<Upstream>(source?: TokenSource<Upstream>): UserToken<Upstream> {
  const token = source ? requireAccessToken(source) : (requireAccessToken() as AccessToken<Upstream>)
  if (token.kind !== 'user') throw new NoAccessToken('this access token is a client’s own: no person is behind it')
  return token
}

/** A backstop: challenges are decided before dispatch, because an SDK turns an error in a tool into a result. */
export class NoAccessToken extends Error {
  override readonly name = 'NoAccessToken'
}
