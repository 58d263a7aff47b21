import type { NamedProvider, SignIn } from '../upstream/provider.ts'
import { identifyAccount } from './account-label.ts'
import { completeAccountSignIn } from './account-sign-in.ts'
import { beginBrowserSession, releaseQuietly } from './browser-session.ts'
import { answerFinished, finish } from './complete.ts'
import type { Arrival, ServerContext } from './context.ts'
import { advance, isVisit, pageOf, withAuthorization, withInteraction } from './interaction.ts'
import { PageProblem, page, type Reply, redirect } from './pages.ts'
import { beginSession } from './sign-in-problem.ts'

/**
 * Somebody has signed in for this interaction. The code is issued where the person approved for whoever signs in, or for this very account;
 * else the person is asked who is meant.
 */
export const completeSignIn = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  interaction: string | null,
  provider: NamedProvider,
  signIn: SignIn,
): Promise<Reply> => {
  const visit = await withInteraction(server, request, interaction, async (open) => (isVisit(open) ? open : undefined))
  if (visit) return completeAccountSignIn(server, request, arrival, visit, provider, signIn)
  const begun = await beginSession(server, request, arrival, interaction, provider, signIn)
  if ('kind' in begun) return begun
  const { account, session } = begun
  // The host's own session says who is signed in there. One of ours beside it would outlive it.
  const own = provider.open.kind !== 'host'
  const cookies = own ? [await beginBrowserSession(server, request, account, session)] : []
  const signedIn = {
    account: account.id,
    upstreamSession: session.id,
    authTime: signIn.authTime,
    createdAt: session.createdAt,
  }
  try {
    const reply = await withAuthorization(server, request, interaction, async (open) => {
      const finished = await answerFinished(server, open)
      if (finished) return finished
      const { approved, shownAccount } = open.value
      const somebody = await identifyAccount(server, signedIn)
      if (approved && somebody && (shownAccount === undefined || shownAccount === account.id)) {
        return finish(server, open, approved.resources, somebody, { shownAccount: account.id })
      }
      const next = approved ? server.endpoints.signIn : server.endpoints.consent
      await advance(server, open, { signedIn, upstream: undefined, switching: undefined })
      return redirect(pageOf(next, open.value.id))
    })
    return { ...reply, cookies: [...cookies, ...(reply.cookies ?? [])] }
  } catch (error) {
    if (!own) await releaseQuietly(server, session.id)
    if (error instanceof PageProblem) return page(error.page, cookies)
    throw error
  }
}
