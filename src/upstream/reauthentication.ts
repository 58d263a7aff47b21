import { type BeginRequest, type SignIn, SignInRefused } from './provider.ts'

/** Whether a provider signs people in again when it is asked to, and says when: see `OpenidOptions.reauthenticates`. */
export type Reauthenticates = boolean | 'unstated'

/** @throws TypeError */
export const checkReauthenticates = (provider: string, value: unknown): void => {
  if (value === undefined || typeof value === 'boolean' || value === 'unstated') return
  throw new TypeError(`${provider}: reauthenticates is true, false or "unstated"`)
}

export const asksForReauthentication = ({ reauthenticate, maxAge }: BeginRequest): boolean =>
  reauthenticate || maxAge !== undefined

/** For a provider that can't do it. */
export const withoutReauthentication = ({ maxAge: _unknown, ...request }: BeginRequest): BeginRequest => ({
  ...request,
  reauthenticate: false,
})

export const notReauthenticated = (): SignInRefused =>
  new SignInRefused('interaction_required', { detail: 'this provider can’t be asked to sign a person in again' })

/** What a provider can be asked of what is wanted. */
export const possibleRequest = (asked: BeginRequest, reauthenticates: Reauthenticates): BeginRequest => {
  if (reauthenticates === true || !asksForReauthentication(asked)) return asked
  // Who does not say when can't say whether that was recently enough.
  return { ...withoutReauthentication(asked), reauthenticate: reauthenticates === 'unstated' }
}

/**
 * Whether an authorization request must not come through the browser: what is asked for could be taken out of it there, and nothing in the answer would
 * show it.
 */
export const isBestPushed = ({ reauthenticate }: BeginRequest, reauthenticates: Reauthenticates): boolean =>
  reauthenticate && reauthenticates === 'unstated'

/**
 * Where nobody said when, what that is worth. The nonce shows that the id_token answers our request; where that was pushed, to a provider that does as it
 * is asked, nobody has come by without having signed in again.
 */
export const assumedTime = (
  { reauthenticate, pushed = false }: { readonly reauthenticate: boolean; readonly pushed?: boolean },
  reauthenticates: Reauthenticates,
): Pick<SignIn, 'authTimeAssumed'> => {
  if (!reauthenticate || reauthenticates !== 'unstated') return { authTimeAssumed: true }
  return pushed ? {} : { authTimeAssumed: 'asked' }
}
