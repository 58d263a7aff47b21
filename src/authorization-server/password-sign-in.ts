import type { SignIn } from '../upstream/provider.ts'
import { SignInRefused } from '../upstream/provider.ts'
import { completeSignIn } from './complete-sign-in.ts'
import type { Arrival, ServerContext } from './context.ts'
import { type OpenInteraction, withInteraction } from './interaction.ts'
import { PageProblem, type Reply, type SignInPage } from './pages.ts'
import { refused } from './refusal.ts'
import { signInProblem } from './sign-in-problem.ts'

/** What was tried on the sign-in page. */
export interface SignInAttempt {
  readonly username?: string
  readonly refused?: SignInPage['refused']
}

type ShowAgain = (server: ServerContext, open: OpenInteraction, attempt: SignInAttempt) => Promise<Reply>

/** A name and a password from our own page. Checked once, whatever else happens to the interaction meanwhile: a check is slow and counted. */
export const signInByPassword = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  form: URLSearchParams,
  showAgain: ShowAgain,
): Promise<Reply> => {
  const id = form.get('interaction')
  const wanted = form.get('provider')
  const provider = server.providers.find(({ id, open }) => open.kind === 'password' && (!wanted || id === wanted))
  if (provider?.open.kind !== 'password') {
    refused(server, 'sign-in: no such password provider', id ? { interaction: id } : {})
    throw new PageProblem('form_refused', 400)
  }
  const username = form.get('username') ?? ''
  let signIn: SignIn
  try {
    signIn = await provider.open.signIn(username, form.get('password') ?? '', arrival)
  } catch (error) {
    if (!(error instanceof SignInRefused)) throw error
    const { reason, retryAfter = 60 } = error
    if (reason !== 'credentials' && reason !== 'rate_limited') {
      return withInteraction(server, request, id, (open) => signInProblem(server, arrival, open, provider, error))
    }
    server.audit({ type: 'sign_in.refused', provider: provider.id, reason, ...arrival })
    const shown = reason === 'credentials' ? { reason } : { reason, retryAfter: Math.ceil(retryAfter) }
    return withInteraction(server, request, id, (open) => showAgain(server, open, { username, refused: shown }))
  }
  return completeSignIn(server, request, arrival, id, provider, signIn)
}
