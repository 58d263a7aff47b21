import type { ResourceScopes } from '../records/interaction.ts'
import { identifyAccount, type Somebody } from './account-label.ts'
import { visitByHost } from './account-sign-in.ts'
import { readAsked } from './asking.ts'
import { answerFinished, finish } from './complete.ts'
import type { Arrival, ServerContext } from './context.ts'
import {
  advance,
  checkCsrf,
  formOf,
  isOfClient,
  isShown,
  isVisit,
  type OpenAuthorization,
  type OpenInteraction,
  pageOf,
  withInteraction,
} from './interaction.ts'
import { PageProblem, page, type Reply, redirect, type SignInPage } from './pages.ts'
import { type SignInAttempt, signInByPassword } from './password-sign-in.ts'
import { readPersonForm } from './person-form.ts'
import { hintedProvider, offeredProviders, providerOfEmail } from './provider-choice.ts'
import { askHost, askProvider } from './provider-sign-in.ts'
import { refused } from './refusal.ts'

/** The sign-in page, or the question who of two people is meant. */
export const signInPage = (server: ServerContext, request: Request, arrival: Arrival): Promise<Reply> => {
  const query = new URL(request.url).searchParams
  return withInteraction(server, request, query.get('interaction'), async (open) => {
    const early = await answerEarly(server, open)
    if (early) return early
    // The host sends the person back here. It says who that is, so nothing depends on who made the request.
    const host = server.providers.find(({ id, open: { kind } }) => kind === 'host' && id === query.get('provider'))
    if (host && open.value.upstream?.some(({ provider }) => provider === host.id)) {
      return askHost(server, request, arrival, open, host)
    }
    return show(server, open)
  })
}

/** What was sent from there. */
export const signIn = async (server: ServerContext, request: Request, arrival: Arrival): Promise<Reply> => {
  const form = await readPersonForm(server, request)
  const result = await withInteraction(server, request, form.get('interaction'), async (open) => {
    checkCsrf(server, open, form)
    const early = await answerEarly(server, open)
    if (early) return early
    switch (form.get('decision')) {
      case 'continue':
        return isOfClient(open) ? continueAs(server, open, form) : show(server, open)
      case 'switch': {
        const next = await advance(server, open, { signedIn: undefined, switching: true })
        return startSignIn(server, request, arrival, next, form.get('provider'))
      }
      case 'email':
        return signInByEmail(server, request, arrival, open, form)
      default:
        return form.has('password') ? 'password' : startSignIn(server, request, arrival, open, form.get('provider'))
    }
  })
  return result === 'password' ? signInByPassword(server, request, arrival, form, showAgain) : result
}

/**
 * Leads an approved interaction to the sign-in: at the provider that was chosen, or that of the e-mail domain in the client's hint, or the only
 * one, or on the page where one chooses.
 */
export const startSignIn = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  open: OpenInteraction,
  chosen?: string | null,
): Promise<Reply> => {
  const there = offeredProviders(server, open)
  const [only, ...more] = there
  const usual = more.length === 0 ? only : hintedProvider(server, open)
  const provider = chosen ? there.find(({ id }) => id === chosen) : usual
  if (chosen && !provider) {
    refused(server, 'sign-in: unknown provider', { interaction: open.value.id })
    throw new PageProblem('form_refused', 400)
  }
  if (provider?.open.kind === 'redirect') return askProvider(server, request, arrival, open, provider)
  if (provider?.open.kind === 'host') {
    return isOfClient(open) ? askHost(server, request, arrival, open, provider) : visitByHost(server, request, provider)
  }
  return redirect(pageOf(server.endpoints.signIn, open.value.id))
}

/** The domain of an address says where its people sign in, whether or not there is such a person. */
const signInByEmail = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  open: OpenInteraction,
  form: URLSearchParams,
): Promise<Reply> => {
  const email = (form.get('email') ?? '').trim().slice(0, 320)
  const provider = providerOfEmail(server, open, email)
  if (!provider) return showAgain(server, open, { username: email, refused: { reason: 'email' } })
  const hinted = await advance(server, open, { request: { ...open.value.request, loginHint: email } })
  if (provider.open.kind === 'password') return showAgain(server, hinted, { username: email })
  return startSignIn(server, request, arrival, hinted, provider.id)
}

const answerEarly = async (server: ServerContext, open: OpenInteraction): Promise<Reply | undefined> => {
  const finished = await answerFinished(server, open)
  if (finished || open.value.approved || !isOfClient(open)) return finished
  return redirect(pageOf(server.endpoints.consent, open.value.id))
}

const show = async (server: ServerContext, open: OpenInteraction): Promise<Reply> => {
  if (!isOfClient(open)) return showAgain(server, open, {})
  const { signedIn, shownAccount, approved } = open.value
  const somebody = signedIn && (await identifyAccount(server, signedIn))
  if (somebody && approved && somebody.account.id !== shownAccount)
    return askWho(server, open, somebody, approved.resources)
  return showAgain(server, open, {})
}

/** The sign-in page; after an attempt, with what was wrong. */
const showAgain = async (server: ServerContext, open: OpenInteraction, attempt: SignInAttempt): Promise<Reply> => {
  const there = offeredProviders(server, open)
  const local = there.find((provider) => provider.open.kind === 'password')
  const username = attempt.username ?? open.value.request.loginHint ?? ''
  const byEmail = there.length > 1 && server.emailDomains.size > 0
  return page({
    kind: 'sign-in',
    form: formOf(open, server.endpoints.signIn, undefined),
    purpose: await purposeOf(server, open),
    ...(local ? { password: { provider: local.id, name: local.name, username: username.slice(0, 320) } } : {}),
    ...(byEmail ? { byEmail: true } : {}),
    others: there.flatMap(({ id, name }) => (id === local?.id ? [] : [{ provider: id, name }])),
    ...(attempt.refused ? { refused: attempt.refused } : {}),
  })
}

const purposeOf = async (server: ServerContext, open: OpenInteraction): Promise<SignInPage['purpose']> => {
  if (isVisit(open)) return { kind: open.value.request.purpose }
  if (!isOfClient(open)) throw new TypeError('an interaction of no kind')
  const asked = await readAsked(server, open.value.request)
  return { kind: 'client', client: asked.client, resources: asked.resources({}, {}) }
}

const askWho = async (
  server: ServerContext,
  open: OpenAuthorization,
  somebody: Somebody,
  approved: ResourceScopes,
): Promise<Reply> => {
  const asked = await readAsked(server, open.value.request)
  return page({
    kind: 'continue',
    form: formOf(open, server.endpoints.signIn, somebody.account.id),
    client: asked.client,
    resources: asked
      .resources(approved, {})
      .flatMap((resource) =>
        resource.identifier in approved
          ? [{ ...resource, scopes: resource.scopes.filter(({ ticked }) => ticked) }]
          : [],
      ),
    signedIn: somebody.shown,
  })
}

const continueAs = async (server: ServerContext, open: OpenAuthorization, form: URLSearchParams): Promise<Reply> => {
  const { signedIn, approved } = open.value
  const somebody = signedIn && (await identifyAccount(server, signedIn))
  if (!somebody || !approved || !isShown(open, form, somebody.account.id)) return show(server, open)
  return finish(server, open, approved.resources, somebody, { shownAccount: somebody.account.id })
}
