import { hashStrings } from '../crypto/hash.ts'
import type { AccountRequest } from '../records/interaction.ts'
import { type NamedProvider, type SignIn, SignInRefused } from '../upstream/provider.ts'
import { beginBrowserSession, browserSecret, readBrowserSession, releaseQuietly } from './browser-session.ts'
import type { Arrival, ServerContext } from './context.ts'
import { cookieValue } from './cookies.ts'
import { advance, beginInteraction, type OpenVisit, pageOf, withInteraction } from './interaction.ts'
import { type AccountNotice, type Reply, redirect } from './pages.ts'
import { isFreshSignIn } from './proven-sign-in.ts'
import { beginSession, signInProblem } from './sign-in-problem.ts'
import { identifyVisitor } from './visitor.ts'

/** Begins a sign-in that leads to the account page. */
export const beginAccountSignIn = async (
  server: ServerContext,
  request: Request,
  asked: AccountRequest,
): Promise<Reply> => {
  const { interaction, cookies } = await beginInteraction(server, request, asked)
  return redirect(pageOf(server.endpoints.signIn, interaction.id), cookies)
}

/** The account page, with something to tell; only this browser's own server can have said it. */
export const accountLocation = (
  server: ServerContext,
  request: Request,
  notice?: AccountNotice,
  secret = browserSecret(server, request),
): string => {
  if (notice === undefined || secret === undefined) return server.endpoints.account
  return `${server.endpoints.account}?notice=${notice}.${noticeMark(secret, notice)}`
}

export const noticeMark = (secret: string, notice: string): string => hashStrings('notice', secret, notice).slice(0, 22)

/** The host's own session is the sign-in. */
export const visitByHost = async (server: ServerContext, request: Request, host: NamedProvider): Promise<Reply> => {
  const answer = await identifyVisitor(server, request, host, false)
  return answer instanceof Response ? { kind: 'response', response: answer } : redirect(server.endpoints.account)
}

/** Somebody has signed in who wants to see their account page, or to add this sign-in to their account. */
export const completeAccountSignIn = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  open: OpenVisit,
  provider: NamedProvider,
  signIn: SignIn,
): Promise<Reply> => {
  const { purpose } = open.value.request
  if (purpose === 'add') return addIdentity(server, request, arrival, open, provider, signIn)
  const begun = await beginSession(server, request, arrival, open.value.id, provider, signIn)
  if ('kind' in begun) return begun
  const { account, session } = begun
  const cookie = await beginBrowserSession(server, request, account, session)
  if (purpose === 'confirm' && account.id === open.value.request.account && !isFreshSignIn(server, account, session)) {
    server.audit({ type: 'account.identity_refused', account: account.id, provider: provider.id, reason: 'not_proven' })
    return end(server, request, open, accountLocation(server, request, 'not_proven', cookieValue(cookie)), [cookie])
  }
  const then = await nextOf(server, request, open.value.request, account.id)
  const location = then.kind === 'redirect' ? then.location : server.endpoints.account
  return end(server, request, open, location, [cookie, ...(then.cookies ?? [])])
}

/** Once: a second click gets the answer of the first. */
const end = async (
  server: ServerContext,
  request: Request,
  { value: { id } }: OpenVisit,
  location: string,
  cookies: readonly string[] = [],
): Promise<Reply> => {
  const ended = await withInteraction(server, request, id, async (open) => {
    const before = open.value.finished?.location
    if (before === undefined) await advance(server, open, { finished: { location, at: open.now }, upstream: undefined })
    return before ?? location
  })
  return redirect(ended, cookies)
}

/** Who proved again who they are goes on with what that was for. */
const nextOf = (
  server: ServerContext,
  request: Request,
  { purpose, account, provider }: AccountRequest,
  signedIn: string,
): Promise<Reply> | Reply =>
  purpose === 'confirm' && provider !== undefined && account === signedIn
    ? beginAccountSignIn(server, request, { purpose: 'add', account, provider, prompt: [] })
    : redirect(server.endpoints.account)

const addIdentity = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  open: OpenVisit,
  provider: NamedProvider,
  signIn: SignIn,
): Promise<Reply> => {
  const { account = '', provider: wanted } = open.value.request
  const somebody = await readBrowserSession(server, request)
  let outcome: Awaited<ReturnType<ServerContext['accounts']['link']>>
  try {
    const ours = somebody?.account.id === account && provider.id === wanted
    outcome = ours ? await server.accounts.link(account, provider.id, await server.accounts.recall(signIn)) : 'gone'
  } catch (error) {
    if (!(error instanceof SignInRefused)) throw error
    return signInProblem(server, arrival, open, provider, error)
  }
  if (somebody) await forgetTokens(server, somebody.account, provider, signIn)
  const { issuer, subject } = signIn
  server.audit(
    outcome === 'added'
      ? { type: 'account.identity_added', account, provider: provider.id, issuer, subject }
      : { type: 'account.identity_refused', account, provider: provider.id, reason: outcome },
  )
  const notice = outcome === 'gone' || outcome === 'full' ? 'other_person' : outcome
  return end(server, request, open, accountLocation(server, request, notice))
}

/** It was only to show who this is: the tokens that came along are ended where the provider lets us. */
const forgetTokens = async (
  server: ServerContext,
  account: Parameters<ServerContext['custody']['begin']>[0],
  provider: NamedProvider,
  signIn: SignIn,
): Promise<void> => {
  if (!signIn.tokens) return
  const session = await server.custody.begin(account, provider.id, signIn)
  await releaseQuietly(server, session.id)
}
