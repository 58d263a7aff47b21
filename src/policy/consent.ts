/** Where a redirect ends: a web server, or a process or app of this computer, which any local program can pose as. */
export type RedirectKind = 'https' | 'loopback' | 'private'

/** Whether what the person allowed before covers all that is asked for now. Nothing remembered covers nothing, not even nothing. */
export const consentCovers = (remembered: readonly string[] | undefined, requested: readonly string[]): boolean =>
  remembered !== undefined && requested.every((scope) => remembered.includes(scope))

export interface ConsentFacts {
  /** Our own session in this browser, for the account that will be granted for. */
  readonly ownSession: boolean
  /** The scopes that this account allowed this client, with this redirect host and this resource; undefined where there is no consent. */
  readonly remembered: readonly string[] | undefined
  readonly requested: readonly string[]
  readonly redirectKind: RedirectKind
}

/** Whether the consent page may be left out. Never where the redirect ends on this computer: any local process can use a public client id. */
export const maySkipConsent = ({ ownSession, remembered, requested, redirectKind }: ConsentFacts): boolean =>
  redirectKind === 'https' && ownSession && consentCovers(remembered, requested)

export interface ErrorRedirectFacts {
  /** `configured`: by the operator. `dynamic`: by anyone. */
  readonly registration: 'configured' | 'dynamic'
  /** Whether this person allowed this client and redirect host something before. */
  readonly consented: boolean
  readonly redirectKind: RedirectKind
}

/**
 * Whether an error before the person has acted may be redirected; else it gets our page with a link. Otherwise anyone could register a
 * client and use us to send people wherever they like.
 * @see RFC 9700 §4.11.2
 */
export const mayRedirectError = ({ registration, consented, redirectKind }: ErrorRedirectFacts): boolean =>
  registration === 'configured' || consented || redirectKind === 'loopback'
