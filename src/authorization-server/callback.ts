import { setTimeout as sleep } from 'node:timers/promises'
import { hashSecret, matchesSecret } from '../crypto/hash.ts'
import type { UpstreamAttempt } from '../records/interaction.ts'
import { type NamedProvider, ProviderUnavailable, SignInRefused } from '../upstream/provider.ts'
import { answerFinished } from './complete.ts'
import { completeSignIn } from './complete-sign-in.ts'
import type { Arrival, ServerContext } from './context.ts'
import { advance, formOf, type OpenInteraction, pageOf, withInteraction } from './interaction.ts'
import { PageProblem, page, type Reply, redirect } from './pages.ts'
import { callbackOf } from './provider-addresses.ts'
import { providerTrouble } from './provider-sign-in.ts'
import { refused } from './refusal.ts'
import { signInProblem } from './sign-in-problem.ts'

type Claimed =
  | { readonly attempt: UpstreamAttempt; readonly open: OpenInteraction }
  | { readonly reply: Reply }
  | 'wait'

// For a page that was loaded again while the first answer is still being checked at the provider.
const waits = 20
const waitMs = 400

/** Where the provider of that id sends the browser back to. */
export const callback = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  providerId: string,
): Promise<Reply> => {
  const provider = server.providers.find(({ id, open }) => id === providerId && open.kind === 'redirect')
  if (!provider) {
    refused(server, 'callback: not of a provider that redirects')
    throw new PageProblem('attempt_gone', 400)
  }
  const url = new URL(request.url)
  const states = url.searchParams.getAll('state')
  const [state = ''] = states
  if (states.length > 1) {
    refused(server, 'callback: state was sent more than once')
    throw new PageProblem('attempt_gone', 400)
  }
  const id = state.split('.', 1).join('')
  for (let wait = 0; ; wait++) {
    const claimed = await withInteraction(server, request, id, (open) => claim(server, open, provider, state, wait))
    if (claimed === 'wait') await sleep(waitMs)
    else if ('reply' in claimed) return claimed.reply
    else return complete(server, request, arrival, provider, claimed, url)
  }
}

/** An answer counts once: who takes the attempt checks it. */
const claim = async (
  server: ServerContext,
  open: OpenInteraction,
  provider: NamedProvider,
  state: string,
  wait: number,
): Promise<Claimed> => {
  const finished = await answerFinished(server, open)
  if (finished) return { reply: finished }
  const { upstream = [], signedIn, id } = open.value
  const attempt = upstream.find((each) => each.provider === provider.id && matchesSecret(state, hashSecret(each.state)))
  if (attempt && attempt.claimedAt === undefined) {
    const rest = upstream.map((each) => (each === attempt ? { ...each, claimedAt: open.now } : each))
    return { attempt, open: await advance(server, open, { upstream: rest }) }
  }
  if (attempt && wait < waits) return 'wait'
  if (signedIn) return { reply: redirect(pageOf(server.endpoints.signIn, id)) }
  refused(server, 'callback: no such attempt is under way', { interaction: id })
  return { reply: page(tryAgain(server, open, provider)) }
}

const tryAgain = (server: ServerContext, open: OpenInteraction, provider: NamedProvider) =>
  ({
    kind: 'problem',
    problem: 'attempt_gone',
    status: 400,
    provider: provider.name,
    again: { form: formOf(open, server.endpoints.signIn, undefined), provider: provider.id, name: provider.name },
  }) as const

const complete = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  provider: NamedProvider,
  { attempt, open }: { readonly attempt: UpstreamAttempt; readonly open: OpenInteraction },
  url: URL,
): Promise<Reply> => {
  if (provider.open.kind !== 'redirect') throw new TypeError(`${provider.id} does not redirect`)
  const redirectUri = callbackOf(server, provider.id)
  try {
    // Our own address, with the parameters that came: the request's Host says nothing.
    const answer = new URL(redirectUri + url.search)
    const signIn = await provider.open.complete(answer, attempt.pending, redirectUri)
    return await completeSignIn(server, request, arrival, open.value.id, provider, signIn)
  } catch (error) {
    if (error instanceof SignInRefused) {
      return forget(server, request, open, attempt, (now) => signInProblem(server, arrival, now, provider, error))
    }
    if (error instanceof ProviderUnavailable) {
      return forget(server, request, open, attempt, (now) => providerTrouble(server, now, provider, error))
    }
    throw error
  }
}

/** The attempt is over; whoever waits for it need not. */
const forget = (
  server: ServerContext,
  request: Request,
  { value }: OpenInteraction,
  { state }: UpstreamAttempt,
  answer: (open: OpenInteraction) => Promise<Reply>,
): Promise<Reply> =>
  withInteraction(server, request, value.id, async (open) => {
    const upstream = (open.value.upstream ?? []).filter((each) => each.state !== state)
    return answer(await advance(server, open, { upstream }))
  })
