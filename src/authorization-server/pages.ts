import type { RedirectKind } from '../oauth/redirect-uri.ts'

/** What the person's endpoints answer. How a page looks, and its headers, is for `http/`. */
export type Reply =
  | { readonly kind: 'page'; readonly page: Page; readonly cookies?: readonly string[] }
  | { readonly kind: 'redirect'; readonly location: string; readonly cookies?: readonly string[] }
  /** The host's own answer, to sign the person in by its own means. */
  | { readonly kind: 'response'; readonly response: Response; readonly cookies?: readonly string[] }

export type Page = ConsentPage | SignInPage | ContinuePage | AccountPage | ProblemPage

/** Where a page's form goes, and what shows that it came from this page. */
export interface PageForm {
  readonly action: string
  /** Absent on the account page, which is of no interaction. */
  readonly interaction?: string
  readonly csrf: string
  /** Languages that the person reads, best first, as the client said. */
  readonly locales?: readonly string[]
  /** Says which account the page showed, so that a page that is out of date approves nothing for another. */
  readonly shown?: string
}

/** Who asks. The name is what the client says of itself: foreign text. */
export interface AskingClient {
  readonly name?: string
  /** Registered by the operator. */
  readonly verified: boolean
  /** The domain that the client's metadata document was read from; `onlyLocal` where none of its redirects ends at a web site. */
  readonly publishedBy?: { readonly domain: string; readonly onlyLocal: boolean }
  readonly redirectKind: RedirectKind
  readonly redirectHost: string
}

/** Somebody, as a person recognises them. Foreign text. */
export interface ShownAccount {
  readonly name?: string
  readonly email?: string
  readonly username?: string
  /** The provider's name. */
  readonly provider: string
}

export interface OfferedScope {
  /** Of the form's `scope`, where it is ticked. */
  readonly value: string
  readonly scope: string
  /** What it allows, in the operator's words. */
  readonly description: string
  /** What another of the scopes allows that implies this one, in the operator's words. */
  readonly comesWith?: string
  readonly ticked: boolean
  /** This person allowed it to this client before. */
  readonly before: boolean
}

/** The form has `decision` (`approve`, `deny`, `switch`) and `scope`, once for each that is ticked. */
export interface ConsentPage {
  readonly kind: 'consent'
  readonly form: PageForm
  readonly client: AskingClient
  readonly resources: readonly AskedResource[]
  /** Without it, whoever signs in next is granted for. */
  readonly account?: ShownAccount
  /** The names of the providers to choose from when signing in. */
  readonly providers: readonly string[]
  /** The person will be asked to sign in (again). */
  readonly signInFollows: boolean
  /** Everything was unticked. */
  readonly nothingTicked: boolean
  /** The address of the account page, where it is taken back. */
  readonly accountPage: string
}

/** Pages show at least one. */
export interface AskedResource {
  readonly name?: string
  readonly identifier: string
  readonly scopes: readonly OfferedScope[]
}

/** The forms have `username` and `password`, or `provider`. */
export interface SignInPage {
  readonly kind: 'sign-in'
  readonly form: PageForm
  readonly purpose:
    | { readonly kind: 'client'; readonly client: AskingClient; readonly resources: readonly AskedResource[] }
    /** To see the account page; to prove again who one is; as another identity of the same account. */
    | { readonly kind: 'visit' | 'confirm' | 'add' }
  /** A name and a password on this page. */
  readonly password?: { readonly provider: string; readonly name: string; readonly username: string }
  /** An e-mail address may be entered, whose domain says where to sign in: `decision` is `email`, and `email` the address. */
  readonly byEmail?: boolean
  /** Buttons that lead to other providers. */
  readonly others: readonly { readonly provider: string; readonly name: string }[]
  readonly refused?:
    | { readonly reason: 'credentials' }
    | { readonly reason: 'rate_limited'; readonly retryAfter: number }
    /** No provider is for the domain. */
    | { readonly reason: 'email' }
}

/** Somebody else than the account that was shown has signed in. The form has `decision` (`continue`, `switch`). */
export interface ContinuePage {
  readonly kind: 'continue'
  readonly form: PageForm
  readonly client: AskingClient
  readonly resources: readonly AskedResource[]
  readonly shown?: ShownAccount
  readonly signedIn: ShownAccount
}

/**
 * Which apps may act for a person. The forms have `decision`: `disconnect` with `client`, `add` with `provider`, `remove` with `identity`,
 * `sign_out`, `sign_out_everywhere`.
 */
export interface AccountPage {
  readonly kind: 'account'
  readonly form: PageForm
  readonly account: ShownAccount
  readonly apps: readonly ConnectedApp[]
  /** The account's identities, with their providers' names. */
  readonly identities: readonly { readonly id: string; readonly provider: string; readonly current: boolean }[]
  /** Where else this person may sign in from now on. */
  readonly addable: readonly { readonly provider: string; readonly name: string }[]
  /** By us, and not only by the host. */
  readonly signedInHere: boolean
  readonly notice?: AccountNotice
  /** Milliseconds since the epoch, as all times here. */
  readonly now: number
}

export type AccountNotice =
  | 'disconnected'
  | 'connection_ended'
  | 'added'
  | 'removed'
  | 'already_yours'
  /** The identity is another account's: two are never merged. */
  | 'of_another'
  | 'other_person'
  /** The provider did not say that the person has signed in there just now. */
  | 'not_proven'
  /** The form was. */
  | 'outdated'

/** What a person allows one client. */
export interface ConnectedApp {
  readonly clientId: string
  readonly client: Pick<AskingClient, 'name' | 'verified' | 'publishedBy'>
  readonly resources: readonly AllowedResource[]
  readonly since: number
  /** Absent where it has no connection now, but would get one without asking. */
  readonly usedAt?: number
  /** Grants that live; what was used last comes first. */
  readonly connections: readonly Connection[]
}

export interface AllowedResource {
  readonly name?: string
  readonly identifier: string
  /** In the operator's words. */
  readonly descriptions: readonly string[]
}

export interface Connection {
  /** Of its grant: no secret, but of no use to others. */
  readonly id: string
  /** The person; another app, whose token was exchanged; or the word of the person's organisation. */
  readonly by: 'authorization' | 'exchange' | 'assertion'
  /** Where the code was sent, if there was one. */
  readonly redirectHost?: string
  readonly redirectKind?: RedirectKind
  readonly since: number
  readonly usedAt: number
}

/** Something is wrong; the page says what, and what to do. */
export interface ProblemPage {
  readonly kind: 'problem'
  readonly problem: Problem
  readonly status: number
  readonly client?: AskingClient
  /** More, in our own words; never foreign text. */
  readonly detail?: string
  /** Leads back to the application, with the error. A checked redirect URI. */
  readonly back?: string
  /** A button that tries the sign-in again. */
  readonly again?: { readonly form: PageForm; readonly provider: string; readonly name: string }
  /** A provider's name, in the operator's words. */
  readonly provider?: string
  /** Seconds. */
  readonly retryAfter?: number
}

export type Problem =
  /** The request names no client, or none that we know. */
  | 'client_unknown'
  /** The client's metadata document can't be read now. */
  | 'client_document_unreachable'
  /** There is no such document, or it is not one of this client. */
  | 'client_document_refused'
  /** Without a redirect URI, or with one that the client did not register. */
  | 'redirect_refused'
  /** The authorization request is wrong in another way. */
  | 'request_refused'
  | 'too_many_requests'
  /** There is no such interaction (any more). */
  | 'interaction_gone'
  /** The interaction began in another browser, or its cookie did not arrive. */
  | 'interaction_elsewhere'
  | 'interaction_answered'
  /** A provider's answer that belongs to no attempt that is under way. */
  | 'attempt_gone'
  /** A form that did not come from our page, or can't be read. */
  | 'form_refused'
  | 'sign_in_denied'
  | 'sign_in_untrusted'
  | 'sign_in_claims'
  /** By a rule of the operator's; `detail` is their reason. */
  | 'sign_in_not_admitted'
  | 'sign_in_incomplete'
  | 'provider_unavailable'
  | 'method_refused'
  | 'unavailable'

export const page = (page: Page, cookies: readonly string[] = []): Reply => ({ kind: 'page', page, cookies })

export const redirect = (location: string, cookies: readonly string[] = []): Reply => ({
  kind: 'redirect',
  location,
  cookies,
})

export type ProblemFacts = Omit<ProblemPage, 'kind' | 'problem' | 'status'>

/** Ends an endpoint with a problem page. */
export class PageProblem extends Error {
  override readonly name = 'PageProblem'
  readonly page: ProblemPage
  constructor(problem: Problem, status: number, facts: ProblemFacts = {}) {
    super(problem)
    this.page = { kind: 'problem', problem, status, ...facts }
  }
}
