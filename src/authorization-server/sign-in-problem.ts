import { type NamedProvider, type SignIn, SignInRefused } from '../upstream/provider.ts'
import type { Arrival, ServerContext } from './context.ts'
import { formOf, type OpenInteraction, withInteraction } from './interaction.ts'
import { type Problem, page, type Reply } from './pages.ts'

/** The account of who signed in and the upstream session that stands on it, or the page that says why there can't be one. */
export const beginSession = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  interaction: string | null,
  provider: NamedProvider,
  answered: SignIn,
) => {
  try {
    const signIn = await server.accounts.recall(answered)
    const { account, created } = await server.accounts.resolve(provider.id, signIn)
    const session = await server.custody.begin(account, provider.id, signIn)
    const { issuer, subject } = signIn
    server.audit({ type: 'sign_in.succeeded', provider: provider.id, account: account.id, issuer, subject, created })
    return { account, session }
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
  not_admitted: ['sign_in_not_admitted', 403],
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
    ...((reason === 'claims' || reason === 'not_admitted') && detail !== undefined ? { detail } : {}),
    ...(retryAfter === undefined ? {} : { retryAfter: Math.ceil(retryAfter) }),
  })
}
