import { base64url } from '../crypto/bytes.ts'
import { hashSecret, hashStrings, matchesSecret } from '../crypto/hash.ts'
import type { AuthTimeAssumed } from '../policy/sign-in.ts'
import type { Account } from '../records/account.ts'
import { mergedClaims } from '../upstream/claims.ts'
import { type NamedProvider, ProviderUnavailable, SignInRefused } from '../upstream/provider.ts'
import { type Somebody, shownAccount } from './account-label.ts'
import { browserSecret, readBrowserSession } from './browser-session.ts'
import type { ServerContext } from './context.ts'
import { readCookies, setCookie } from './cookies.ts'
import { PageProblem, type ShownAccount } from './pages.ts'

/** Whoever looks at their account page. */
export interface Visitor {
  /** Undefined for somebody whom the host knows, and who never allowed an app anything here. */
  readonly account: Account | undefined
  /** As whom; undefined where the host says it. */
  readonly identity?: Somebody['identity']
  readonly shown: ShownAccount
  /** When the person authenticated, seconds since the epoch. */
  readonly authTime: number
  /** The provider did not say it. */
  readonly authTimeAssumed?: AuthTimeAssumed | undefined
  /** Signed in by us; otherwise the host says at each request who this is. */
  readonly signedInHere: boolean
  /** In the forms of the page. */
  readonly csrf: string
  readonly cookies: readonly string[]
}

const cookieName = 'account'

/** Who is signed in in this browser: here, or at the host. A response is the host's own, to sign in there. */
export const whoVisits = async (
  server: ServerContext,
  request: Request,
): Promise<{ readonly visitor?: Visitor; readonly signIn?: Response }> => {
  const somebody = await readBrowserSession(server, request)
  const secret = browserSecret(server, request)
  if (somebody && secret !== undefined) {
    const { account, identity, shown, authTime, authTimeAssumed } = somebody
    const csrf = hashStrings('account', secret, account.id)
    return { visitor: { account, identity, shown, authTime, authTimeAssumed, signedInHere: true, csrf, cookies: [] } }
  }
  const host = server.providers.find(({ open }) => open.kind === 'host')
  return host ? visitorOfHost(server, request, host) : {}
}

const visitorOfHost = async (server: ServerContext, request: Request, host: NamedProvider) => {
  if (host.open.kind !== 'host') return {}
  const answer = await identifyVisitor(server, request, host, false)
  if (answer instanceof Response) return { signIn: answer }
  const account = await server.accounts.byIdentity(answer.issuer, answer.subject)
  const known = readCookies(server.issuer, request).get(cookieName)
  const cookie = known ?? base64url(server.random.bytes(32))
  const cookies = known === undefined ? [setCookie(server.issuer, cookieName, cookie, 86_400)] : []
  const shown = shownAccount(host.name, mergedClaims(answer))
  const csrf = hashStrings('account', cookie, answer.issuer, answer.subject)
  const { authTime, authTimeAssumed } = answer
  return { visitor: { account, shown, authTime, authTimeAssumed, signedInHere: false, csrf, cookies } }
}

/** Asks the host. Its sign-in leads back to the account page. @throws PageProblem */
export const identifyVisitor = async (
  { endpoints, audit }: ServerContext,
  request: Request,
  host: NamedProvider,
  reauthenticate: boolean,
) => {
  if (host.open.kind !== 'host') throw new TypeError(`${host.id} is not the host`)
  // Whatever was sent: the host looks at who is signed in.
  const asked = request.method === 'GET' ? request : new Request(endpoints.account, { headers: request.headers })
  try {
    return await host.open.identify(asked, { returnTo: endpoints.account, reauthenticate })
  } catch (error) {
    if (error instanceof SignInRefused) {
      audit({ type: 'sign_in.refused', provider: host.id, reason: error.detail ?? error.reason })
      throw new PageProblem('sign_in_denied', 403, { provider: host.name })
    }
    if (error instanceof ProviderUnavailable) {
      audit({ type: 'upstream.failed', provider: host.id, reason: error.detail ?? error.message })
      throw new PageProblem('provider_unavailable', 503, { provider: host.name, retryAfter: 5 })
    }
    throw error
  }
}

export const isOwnForm = ({ csrf }: Visitor, form: URLSearchParams): boolean =>
  matchesSecret(form.get('csrf') ?? '', hashSecret(csrf))
