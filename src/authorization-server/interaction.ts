import { setTimeout as sleep } from 'node:timers/promises'
import { base64url } from '../crypto/bytes.ts'
import { hashSecret, hashStrings, matchesSecret } from '../crypto/hash.ts'
import {
  type AccountInteraction,
  type AccountRequest,
  type AuthorizationInteraction,
  type AuthorizationRequest,
  type Interaction,
  interactionRef,
  isAuthorizationInteraction,
} from '../records/interaction.ts'
import { put, type Stored, type Unit } from '../records/records.ts'
import { StoreUnavailable } from '../store/store.ts'
import type { ServerContext } from './context.ts'
import { readCookies, setCookie } from './cookies.ts'
import { type PageForm, PageProblem } from './pages.ts'
import { refused } from './refusal.ts'

/** An interaction of this browser, as it was read. */
export interface OpenInteraction<Kind extends Interaction = Interaction> {
  readonly stored: Stored<Interaction>
  readonly value: Kind
  /** The store's clock, milliseconds since the epoch. */
  readonly now: number
}

export type OpenAuthorization = OpenInteraction<AuthorizationInteraction>
export type OpenVisit = OpenInteraction<AccountInteraction>

/** Members to set; undefined ones are taken away. */
export type InteractionChange = { readonly [Name in keyof Interaction]?: Interaction[Name] | undefined }

/** Somebody else changed the interaction meanwhile: read it again and decide again. */
class InteractionMoved extends Error {
  override readonly name = 'InteractionMoved'
}

// A browser sends all of them with every request, and headers have a size.
const mostCookies = 12
const cookiePrefix = 'i-'

/** Begins an interaction; answers it with the cookies to set. */
export const beginInteraction = async (
  server: ServerContext,
  request: Request,
  asked: AuthorizationRequest | AccountRequest,
  shownAccount?: string,
): Promise<{ interaction: Interaction; cookies: readonly string[] }> => {
  const { issuer, lifetimes, random, records } = server
  const id = base64url(random.bytes(16))
  const cookie = base64url(random.bytes(32))
  const ref = interactionRef(id)
  const { now } = await records.get(ref)
  const interaction = {
    id,
    browser: hashSecret(cookie),
    csrf: base64url(random.bytes(32)),
    request: asked,
    ...(shownAccount === undefined ? {} : { shownAccount }),
    createdAt: now,
  } as Interaction
  await records.commit({ unchanged: [ref], puts: [put(ref, interaction, lifetimes.interaction * 1000)] })
  if ('clientId' in asked) {
    const { clientId, resources } = asked
    server.audit({ type: 'authorization.requested', clientId, interaction: id, resources })
  }
  const own = [...readCookies(issuer, request).keys()].filter((name) => name.startsWith(cookiePrefix))
  const surplus = own.slice(0, Math.max(0, own.length - mostCookies + 1))
  return {
    interaction,
    cookies: [
      ...surplus.map((name) => setCookie(issuer, name, '', 0)),
      setCookie(issuer, `${cookiePrefix}${id}`, cookie, lifetimes.interaction),
    ],
  }
}

/**
 * Opens an interaction, runs `act` on it, and does so again where another request changed it meanwhile. `act` must be safe to run again.
 * @throws PageProblem where there is no such interaction, or it is not this browser's
 */
export const withInteraction = async <T>(
  server: ServerContext,
  request: Request,
  id: string | null | undefined,
  act: (open: OpenInteraction) => Promise<T>,
): Promise<T> => {
  for (let attempt = 0; attempt < 10; attempt++) {
    try {
      return await act(await openInteraction(server, request, id))
    } catch (error) {
      if (!(error instanceof InteractionMoved)) throw error
      // Of those who write at once one wins. Many would get in each other's way again and again.
      if (attempt > 0) await sleep(longestPause(attempt) * chance(server))
    }
  }
  throw new StoreUnavailable('the interaction changed again and again')
}

/** Milliseconds. */
const longestPause = (attempt: number): number => Math.min(200, 5 * 2 ** attempt)

/** 0 to 1. */
const chance = ({ random }: ServerContext): number => (random.bytes(1)[0] ?? 0) / 255

/** As `withInteraction`, for one that is an authorization request. */
export const withAuthorization = <T>(
  server: ServerContext,
  request: Request,
  id: string | null | undefined,
  act: (open: OpenAuthorization) => Promise<T>,
): Promise<T> =>
  withInteraction(server, request, id, async (open) => {
    if (!isOfClient(open)) throw gone(server, open.value.id)
    return act(open)
  })

/** Whether it is for the person's own account page. */
export const isVisit = (open: OpenInteraction): open is OpenVisit => !isAuthorizationInteraction(open.value)

/** Whether it is for a client, and not for the person's own account page. */
export const isOfClient = (open: OpenInteraction): open is OpenAuthorization => isAuthorizationInteraction(open.value)

const openInteraction = async (
  server: ServerContext,
  request: Request,
  id: string | null | undefined,
): Promise<OpenInteraction> => {
  if (!id || !/^[\w-]{22}$/.test(id)) throw gone(server)
  const { values, now } = await server.records.get(interactionRef(id))
  const [stored] = values
  const cookie = readCookies(server.issuer, request).get(`${cookiePrefix}${id}`)
  if (!stored) throw gone(server, id)
  if (!cookie || !matchesSecret(cookie, stored.value.browser)) {
    refused(server, 'interaction: its cookie is missing or wrong', { interaction: id })
    throw new PageProblem('interaction_elsewhere', 403)
  }
  return { stored, value: stored.value, now }
}

const gone = (server: ServerContext, interaction?: string): PageProblem => {
  refused(server, 'interaction: unknown or expired', interaction === undefined ? {} : { interaction })
  return new PageProblem('interaction_gone', 400)
}

/** @throws PageProblem for a form without this interaction's token */
export const checkCsrf = (server: ServerContext, { value }: OpenInteraction, form: URLSearchParams): void => {
  if (matchesSecret(form.get('csrf') ?? '', hashSecret(value.csrf))) return
  refused(server, 'form: its CSRF token is missing or wrong', { interaction: value.id })
  throw new PageProblem('form_refused', 403)
}

/** Writes the interaction's next state; where another request was faster, `withInteraction` begins again. */
export const advance = async <Kind extends Interaction>(
  server: ServerContext,
  open: OpenInteraction<Kind>,
  change: InteractionChange,
): Promise<OpenInteraction<Kind>> => {
  const { stored, now } = open
  const { value, ...unit } = nextState(server, open, change)
  const result = await server.records.commit(unit)
  if (!result.committed) throw new InteractionMoved()
  return { stored: { ...stored, value, version: result.version }, value, now }
}

/**
 * As `advance`, to be committed with something else: called again where that commit failed, it says whether it was for the interaction. Then
 * `withInteraction` begins again.
 */
export const advanceWith = <Kind extends Interaction>(server: ServerContext, open: OpenInteraction<Kind>) => {
  let tried = false
  return async (change: InteractionChange): Promise<Required<Pick<Unit, 'unchanged' | 'puts'>>> => {
    if (tried) {
      const [stored] = (await server.records.get(open.stored.ref)).values
      if (stored?.version !== open.stored.version) throw new InteractionMoved()
    }
    tried = true
    const { unchanged, puts } = nextState(server, open, change)
    return { unchanged, puts }
  }
}

const nextState = <Kind extends Interaction>(
  { lifetimes }: ServerContext,
  { stored, value: before, now }: OpenInteraction<Kind>,
  change: InteractionChange,
) => {
  const value = withoutUndefined<Kind>({ ...before, ...change })
  const left = Math.max(1, before.createdAt + lifetimes.interaction * 1000 - now)
  return { value, unchanged: [stored], puts: [put(stored.ref, value, left)] }
}

const withoutUndefined = <Kind extends Interaction>(value: InteractionChange): Kind =>
  Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as unknown as Kind

/** The address of one of an interaction's pages. */
export const pageOf = (endpoint: string, interaction: string): string => `${endpoint}?interaction=${interaction}`

/** What a page of this interaction needs for its form. `shown` is the account that the page shows. */
export const formOf = ({ value }: OpenInteraction, action: string, shown: string | undefined): PageForm => ({
  action,
  interaction: value.id,
  csrf: value.csrf,
  ...(value.request.locales === undefined ? {} : { locales: value.request.locales }),
  ...(shown === undefined ? {} : { shown: shownMark(value, shown) }),
})

/** Whether the page that this form is of showed this account (or none). */
export const isShown = ({ value }: OpenInteraction, form: URLSearchParams, account: string | undefined): boolean =>
  (form.get('shown') ?? '') === (account === undefined ? '' : shownMark(value, account))

const shownMark = (value: Interaction, account: string): string => hashStrings(value.csrf, account).slice(0, 22)
