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

export interface PromptFacts {
  readonly prompt: readonly Prompt[]
  /** Seconds. */
  readonly maxAge?: number | undefined
  /** Who is signed in in this browser; `authTime` in milliseconds since the epoch. */
  readonly session?: { readonly authTime: number } | undefined
  /** Whether the consent page may be left out; see `maySkipConsent`. */
  readonly consentSkippable: boolean
  /** When this request arrived, in milliseconds: a sign-in since then is as new as anyone can ask for. Without it, now. */
  readonly requestedAt?: number | undefined
  /** Milliseconds since the epoch. */
  readonly now: number
}

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
      readonly error: 'login_required' | 'consent_required' | 'interaction_required'
      readonly description: string
    }

/** Which pages a request needs, or the error where it forbids them. @see OpenID Connect Core §3.1.2.1 and §3.1.2.6 */
export const decidePrompt = (facts: PromptFacts): PromptDecision => {
  const { prompt, session, now, requestedAt = now } = facts
  const fresh = session !== undefined && session.authTime >= requestedAt
  const signIn =
    !fresh &&
    (session === undefined || prompt.includes('login') || prompt.includes('create') || isTooOld(facts, session))
  const consent = prompt.includes('consent') || !facts.consentSkippable
  if (prompt.includes('none')) {
    if (signIn) return { kind: 'error', error: 'login_required', description: 'the person must sign in' }
    if (consent) return { kind: 'error', error: 'consent_required', description: 'the person must be asked' }
  }
  return {
    kind: 'proceed',
    signIn,
    selectAccount: !fresh && prompt.includes('select_account'),
    create: !fresh && prompt.includes('create'),
    consent,
  }
}

const isTooOld = ({ maxAge, now }: PromptFacts, session: { readonly authTime: number }): boolean =>
  maxAge !== undefined && now - session.authTime > maxAge * 1000
