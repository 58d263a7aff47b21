import { type NamedProvider, type SignIn, SignInRefused } from '../upstream/provider.ts'
import { identifyAccount } from './account-label.ts'
import { beginBrowserSession, releaseQuietly } from './browser-session.ts'
import { answerFinished, finish } from './complete.ts'
import type { Arrival, ServerContext } from './context.ts'
import { advance, formOf, type OpenInteraction, pageOf, withInteraction } from './interaction.ts'
import { PageProblem, type Problem, page, type Reply, redirect } from './pages.ts'

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
  const resolved = await resolve(server, request, arrival, interaction, provider, signIn)
  if ('kind' in resolved) return resolved
  const { account, created } = resolved
  const session = await server.custody.begin(account, provider.id, signIn)
  const { issuer, subject } = signIn
  server.audit({ type: 'sign_in.succeeded', provider: provider.id, account: account.id, issuer, subject, created })
  // The host's own session says who is signed in there. One of ours beside it would outlive it.
  const own = provider.open.kind !== 'host'
  const cookies = own ? [await beginBrowserSession(server, request, account, session)] : []
  const signedIn = { account: account.id, upstreamSession: session.id, authTime: signIn.authTime }
  try {
    const reply = await withInteraction(server, request, interaction, async (open) => {
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

const resolve = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  interaction: string | null,
  provider: NamedProvider,
  signIn: SignIn,
) => {
  try {
    return await server.accounts.resolve(provider.id, signIn)
  } catch (error) {
    if (!(error instanceof SignInRefused)) throw error
    return withInteraction(server, request, interaction, (open) =>
      signInProblem(server, arrival, open, provider, error),
    )
  }
}

const problems: Readonly<Record<SignInRefused['reason'], readonly [Problem, number]>> = {
  credentials: ['sign_in_denied', 403],
  rate_limited: ['too_many_requests', 429],
  denied: ['sign_in_denied', 403],
  untrusted: ['sign_in_untrusted', 400],
  claims: ['sign_in_claims', 403],
  interaction_required: ['sign_in_incomplete', 403],
}

/** The page for a sign-in that must not become an identity. What the provider said goes to the audit log only. */
export const signInProblem = async (
  server: ServerContext,
  { address }: Arrival,
  open: OpenInteraction,
  provider: NamedProvider,
  { reason, detail, retryAfter }: SignInRefused,
): Promise<Reply> => {
  server.audit({
    type: 'sign_in.refused',
    provider: provider.id,
    reason: detail === undefined ? reason : `${reason}: ${detail}`,
    ...(address === undefined ? {} : { address }),
  })
  const [problem, status] = problems[reason]
  return page({
    kind: 'problem',
    problem,
    status,
    provider: provider.name,
    again: { form: formOf(open, server.endpoints.signIn, undefined), provider: provider.id, name: provider.name },
    ...(reason === 'claims' && detail !== undefined ? { detail } : {}),
    ...(retryAfter === undefined ? {} : { retryAfter: Math.ceil(retryAfter) }),
  })
}
