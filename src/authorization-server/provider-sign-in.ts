import { base64url } from '../crypto/bytes.ts'
import type { UpstreamAttempt } from '../records/interaction.ts'
import {
  type HostProvider,
  type NamedProvider,
  ProviderUnavailable,
  type SignIn,
  SignInRefused,
} from '../upstream/provider.ts'
import { limitSignIns } from './authorize-limit.ts'
import { readBrowserSession } from './browser-session.ts'
import { completeSignIn } from './complete-sign-in.ts'
import type { Arrival, ServerContext } from './context.ts'
import { advance, formOf, type OpenInteraction, pageOf } from './interaction.ts'
import { page, type Reply, redirect } from './pages.ts'
import { callbackOf } from './provider-addresses.ts'
import { signInProblem } from './sign-in-problem.ts'

// A second click, another tab or the back button may begin again while an earlier attempt is still the one that comes back.
const mostAttempts = 4

/** Sends the browser to a provider. */
export const askProvider = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  open: OpenInteraction,
  provider: NamedProvider,
): Promise<Reply> => {
  if (provider.open.kind !== 'redirect') throw new TypeError(`${provider.id} does not redirect`)
  await limitSignIns(server, arrival)
  const { request: authorization, switching = false, id } = open.value
  const state = `${id}.${base64url(server.random.bytes(32))}`
  try {
    const { url, pending } = await provider.open.begin({
      redirectUri: callbackOf(server, provider.id),
      state,
      ...(authorization.loginHint === undefined ? {} : { loginHint: authorization.loginHint }),
      reauthenticate: await mustReauthenticate(server, request, open),
      selectAccount: switching || authorization.prompt.includes('select_account'),
      ...(authorization.maxAge === undefined ? {} : { maxAge: authorization.maxAge }),
    })
    await advance(server, open, { upstream: withAttempt(open, { provider: provider.id, state, pending }) })
    return redirect(url)
  } catch (error) {
    if (!(error instanceof ProviderUnavailable)) throw error
    return providerTrouble(server, open, provider, error)
  }
}

const withAttempt = ({ value }: OpenInteraction, attempt: UpstreamAttempt): readonly UpstreamAttempt[] => [
  ...(value.upstream ?? []).slice(1 - mostAttempts),
  attempt,
]

/** The page for a provider that can't be reached: nothing is lost, and the person can try again. */
export const providerTrouble = async (
  server: ServerContext,
  open: OpenInteraction,
  provider: NamedProvider,
  { detail, message }: ProviderUnavailable,
): Promise<Reply> => {
  server.audit({ type: 'upstream.failed', provider: provider.id, reason: detail ?? message })
  return page({
    kind: 'problem',
    problem: 'provider_unavailable',
    status: 503,
    provider: provider.name,
    again: { form: formOf(open, server.endpoints.signIn, undefined), provider: provider.id, name: provider.name },
    retryAfter: 5,
  })
}

/** Whether the person must prove again who they are, although the provider may know it. */
const mustReauthenticate = async (server: ServerContext, request: Request, { value }: OpenInteraction) => {
  const { prompt, maxAge } = value.request
  if (prompt.includes('login')) return true
  if (maxAge === undefined) return false
  const somebody = await readBrowserSession(server, request)
  return maxAge === 0 || (somebody !== undefined && server.clock.now() / 1000 - somebody.authTime > maxAge)
}

// Clocks of a host and of this server may differ.
const skew = 60_000

/** Asks the host who is signed in there; where nobody is, the host signs in and returns to our sign-in page. */
export const askHost = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  open: OpenInteraction,
  provider: NamedProvider,
): Promise<Reply> => {
  if (provider.open.kind !== 'host') throw new TypeError(`${provider.id} is not the host`)
  const { id, request: authorization, switching, upstream } = open.value
  const asked = upstream?.find((attempt) => attempt.provider === provider.id)?.claimedAt
  const wanted = switching === true || (await mustReauthenticate(server, request, open))
  try {
    const answer = await identify(provider.open, request, {
      returnTo: `${pageOf(server.endpoints.signIn, id)}&provider=${provider.id}`,
      reauthenticate: wanted && asked === undefined,
      maxAge: asked === undefined ? authorization.maxAge : undefined,
      now: server.clock.now(),
    })
    if (answer instanceof Response) {
      const attempt = { provider: provider.id, state: '', pending: {}, claimedAt: open.now }
      if (asked === undefined) await advance(server, open, { upstream: withAttempt(open, attempt) })
      return { kind: 'response', response: answer }
    }
    // Its time is that of the answer, and whoever leaves out the host's sign-in has one of now, too.
    if (answer.authTimeAssumed && (authorization.prompt.includes('login') || authorization.maxAge !== undefined)) {
      throw new SignInRefused('interaction_required', { detail: 'the host did not say when the person authenticated' })
    }
    if (wanted && (asked === undefined || answer.authTime * 1000 < asked - skew)) {
      throw new SignInRefused('interaction_required', { detail: 'the host did not sign the person in again' })
    }
    return await completeSignIn(server, request, arrival, id, provider, answer)
  } catch (error) {
    if (error instanceof SignInRefused) return signInProblem(server, arrival, open, provider, error)
    if (error instanceof ProviderUnavailable) return providerTrouble(server, open, provider, error)
    throw error
  }
}

interface IdentifyOptions {
  readonly returnTo: string
  readonly reauthenticate: boolean
  readonly maxAge: number | undefined
  readonly now: number
}

const identify = async (
  host: HostProvider,
  request: Request,
  { returnTo, reauthenticate, maxAge, now }: IdentifyOptions,
): Promise<SignIn | Response> => {
  const answer = await host.identify(request, { returnTo, reauthenticate })
  const tooOld = !(answer instanceof Response) && maxAge !== undefined && now / 1000 - answer.authTime > maxAge
  return tooOld && !reauthenticate ? host.identify(request, { returnTo, reauthenticate: true }) : answer
}
