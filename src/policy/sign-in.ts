/** @see OpenID Connect Core §3.1.2.1, Initiating User Registration via OpenID Connect 1.0 §4 */
const prompts = ['none', 'login', 'consent', 'select_account', 'create'] as const
export type Prompt = (typeof prompts)[number]

export type PromptResult =
  | { readonly ok: true; readonly prompt: readonly Prompt[] }
  | { readonly ok: false; readonly error: 'invalid_request'; readonly description: string }

/** Reads a `prompt` parameter: values each once, `none` only alone, unknown ones refused. */
export const parsePrompt = (text: string | undefined): PromptResult => {
  const values = [...new Set((text ?? '').split(' ').filter((value) => value !== ''))]
  const known = values.filter(isPrompt)
  if (known.length < values.length) return invalid(`prompt: expected ${prompts.join(', ')}`)
  if (known.includes('none') && known.length > 1) return invalid('prompt: none must stand alone')
  if (known.includes('create') && known.some((value) => value === 'login' || value === 'select_account')) {
    return invalid('prompt: create contradicts login and select_account')
  }
  return { ok: true, prompt: known }
}

const isPrompt = (value: string): value is Prompt => prompts.some((prompt) => prompt === value)
const invalid = (description: string): PromptResult => ({ ok: false, error: 'invalid_request', description })

export type MaxAgeResult =
  | { readonly ok: true; readonly maxAge: number | undefined }
  | { readonly ok: false; readonly error: 'invalid_request'; readonly description: string }

/** Reads a `max_age` parameter: seconds. */
export const parseMaxAge = (text: string | undefined): MaxAgeResult => {
  if (text === undefined) return { ok: true, maxAge: undefined }
  if (/^[0-9]{1,10}$/.test(text)) return { ok: true, maxAge: Number(text) }
  return { ok: false, error: 'invalid_request', description: 'max_age: expected a number of seconds' }
}

/** Reads a `ui_locales` parameter: language tags, best first. It is a hint: what is none is left out. */
export const parseLocales = (text: string | undefined): readonly string[] =>
  (text ?? '')
    .slice(0, 200)
    .split(' ')
    .filter((tag) => /^[a-zA-Z]{2,8}(-[a-zA-Z0-9]{1,8})*$/.test(tag))

export interface PromptFacts {
  readonly prompt: readonly Prompt[]
  /** Seconds. */
  readonly maxAge?: number | undefined
  /** Who is signed in in this browser; `authTime` in seconds since the epoch, assumed where nobody said when it was. */
  readonly session?: AuthenticatedAt | undefined
  /** Whether that was in the course of this very request: nobody can ask for newer. Not told from times, which are whole seconds. */
  readonly signedInNow?: boolean | undefined
  /** Whether the consent page may be left out; see `maySkipConsent`. */
  readonly consentSkippable: boolean
  /** Milliseconds since the epoch. */
  readonly now: number
}

/**
 * Nobody said when a person authenticated, and it is taken for the moment of the answer; they may have signed in long before. `asked`: it was the
 * answer to a request to sign them in again.
 */
export type AuthTimeAssumed = true | 'asked'

interface AuthenticatedAt {
  readonly authTime: number
  readonly authTimeAssumed?: AuthTimeAssumed | undefined
}

/** What clocks may differ, in seconds. */
export const authTimeSkew = 60

/** When a person authenticated, where that was said and can be. @param now milliseconds since the epoch */
export const statedAuthTime = (stated: unknown, now: number): number | undefined =>
  typeof stated === 'number' && Number.isFinite(stated) && stated <= now / 1000 + authTimeSkew ? stated : undefined

export type PromptDecision =
  | {
      readonly kind: 'proceed'
      /** The person must sign in, though perhaps signed in already. */
      readonly signIn: boolean
      /** Offer to switch the account. */
      readonly selectAccount: boolean
      /** Offer to make an account. */
      readonly create: boolean
      /** The consent page must be shown. */
      readonly consent: boolean
    }
  | {
      readonly kind: 'error'
      readonly error: 'login_required' | 'consent_required'
      readonly description: string
    }

/** Which pages a request needs, or the error where it forbids them. @see OpenID Connect Core §3.1.2.1 and §3.1.2.6 */
export const decidePrompt = (facts: PromptFacts): PromptDecision => {
  const { prompt, session } = facts
  const fresh = session !== undefined && facts.signedInNow === true
  const asked = prompt.includes('login') || prompt.includes('create')
  const signIn = !fresh && (session === undefined || asked || isTooOld(session, facts))
  const consent = prompt.includes('consent') || !facts.consentSkippable
  if (prompt.includes('none')) {
    if (signIn) return { kind: 'error', error: 'login_required', description: 'the person must sign in' }
    if (consent) return { kind: 'error', error: 'consent_required', description: 'the person must be asked' }
  }
  const selectAccount = !fresh && prompt.includes('select_account')
  return { kind: 'proceed', signIn, selectAccount, create: !fresh && prompt.includes('create'), consent }
}

/** `max_age=0` means `prompt=login`, also within the second of the last sign-in. Of whom nobody said when, it may be as long ago as it likes. */
const isTooOld = ({ authTime, authTimeAssumed }: AuthenticatedAt, { maxAge, now }: PromptFacts): boolean =>
  maxAge !== undefined &&
  (maxAge === 0 ||
    authTimeAssumed !== undefined ||
    statedAuthTime(authTime, now) === undefined ||
    now / 1000 - authTime > maxAge)
