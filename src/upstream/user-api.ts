import type { Json, JsonObject } from '../identity/json.ts'
import { parseExactly } from './exact-json.ts'
import { unavailable } from './openid-errors.ts'
import { ProviderUnavailable, SignInRefused } from './provider.ts'
import { objectOf } from './standard-answer.ts'

/** Where a provider says who a token is for. */
export interface UserApi {
  /** Answers a JSON object: the person that the token is for. */
  readonly url: string
  /** The member that names the person for ever: an id, never a name that can be changed. An integer of any size, or a string. */
  readonly subject: string
  /** Sent with each request, such as `accept`. */
  readonly headers?: Readonly<Record<string, string>>
  /** Whether an answer that is no success says that the person is blocked there. A 401 always ends the session, and all else is the provider's trouble. */
  readonly isBlocked?: (status: number, said: JsonObject | undefined) => boolean
  /**
   * More to be asked, each kept as a claim of its name. What the provider says we may not see (403, 404) is left out. Lists are read to their
   * end by `Link: rel="next"`, up to ten pages.
   */
  readonly more?: Readonly<Record<string, string>>
}

type Fetch = (url: string, init: RequestInit) => Promise<Response>

export interface Person {
  readonly subject: string
  readonly claims: JsonObject
}

/** Asks whom a token is for. @throws SignInRefused the person is blocked there; ProviderUnavailable */
export const askUser = async (api: UserApi, token: string, fetch: Fetch): Promise<Person> => {
  const init: RequestInit = {
    headers: {
      accept: 'application/json',
      'user-agent': 'countersign',
      ...api.headers,
      authorization: `Bearer ${token}`,
    },
  }
  try {
    const answer = await fetch(api.url, init)
    if (!answer.ok && api.isBlocked?.(answer.status, objectOf(await answer.text()))) {
      throw new SignInRefused('denied', { detail: 'the person is blocked at the provider' })
    }
    if (!answer.ok) throw failed('the user API', answer)
    const claims = parseExactly(await answer.text())
    if (!isObject(claims)) throw new ProviderUnavailable('the user API answered no JSON object')
    const subject = subjectOf(claims[api.subject])
    if (subject === undefined) throw new ProviderUnavailable('the user API answered nobody', { detail: api.subject })
    const more: [string, Json][] = []
    for (const [name, url] of Object.entries(api.more ?? {})) {
      const value = await askMore(url, init, fetch)
      if (value !== undefined) more.push([name, value])
    }
    return { subject, claims: { ...claims, ...Object.fromEntries(more) } }
  } catch (error) {
    if (error instanceof SignInRefused) throw error
    if (error instanceof SyntaxError) throw new ProviderUnavailable('the user API answered no JSON')
    throw unavailable(error)
  }
}

const subjectOf = (value: Json | undefined): string | undefined => {
  if (typeof value === 'string' && value !== '') return value
  return typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : undefined
}

const mostPages = 10

const askMore = async (first: string, init: RequestInit, fetch: Fetch): Promise<Json | undefined> => {
  const list: Json[] = []
  let url: string | undefined = first
  for (let page = 0; url !== undefined; page++) {
    const answer: Response = await fetch(url, init)
    if (page === 0 && hidden(answer)) return undefined
    if (!answer.ok) throw failed('a user API', answer)
    const value = parseExactly(await answer.text())
    if (!Array.isArray(value)) return value
    list.push(...value)
    url = page + 1 < mostPages ? nextPage(answer, url) : undefined
  }
  return list
}

/** Whether the token may not see it, and not only for now. */
const hidden = ({ status, headers }: Response): boolean =>
  (status === 403 || status === 404) && !headers.has('retry-after') && headers.get('x-ratelimit-remaining') !== '0'

/** The token goes nowhere else: only to the same origin. @see RFC 8288 */
const nextPage = ({ headers }: Response, from: string): string | undefined => {
  const [, target] = /<([^<>]*)>\s*;[^<]*\brel="?next\b/i.exec(headers.get('link') ?? '') ?? []
  if (target === undefined || !URL.canParse(target, from)) return undefined
  const url = new URL(target, from)
  return url.origin === new URL(from).origin ? url.href : undefined
}

const failed = (what: string, { status }: Response): ProviderUnavailable =>
  new ProviderUnavailable(`${what} of the provider answered with status ${status}`, {
    nothingDone: status < 500,
    cause: { status },
  })

const isObject = (value: Json): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
