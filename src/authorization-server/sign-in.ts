import type { ResourceScopes } from '../records/interaction.ts'
import { identifyAccount, type Somebody } from './account-label.ts'
import { readAsked } from './asking.ts'
import { answerFinished, finish } from './complete.ts'
import type { Arrival, ServerContext } from './context.ts'
import { advance, checkCsrf, formOf, isShown, type OpenInteraction, pageOf, withInteraction } from './interaction.ts'
import { PageProblem, page, type Reply, redirect, type SignInPage } from './pages.ts'
import { signInByPassword } from './password-sign-in.ts'
import { readPersonForm } from './person-form.ts'
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
        return continueAs(server, open, form)
      case 'switch': {
        const next = await advance(server, open, { signedIn: undefined, switching: true })
        return startSignIn(server, request, arrival, next, form.get('provider'))
      }
      default:
        return form.has('password') ? 'password' : startSignIn(server, request, arrival, open, form.get('provider'))
    }
  })
  return result === 'password' ? signInByPassword(server, request, arrival, form, showAgain) : result
}

/** Leads an approved interaction to the sign-in: at the provider that was chosen, or the only one, or on the page where one chooses. */
export const startSignIn = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  open: OpenInteraction,
  chosen?: string | null,
): Promise<Reply> => {
  const [only, ...more] = server.providers
  const provider = chosen ? server.providers.find(({ id }) => id === chosen) : more.length === 0 ? only : undefined
  if (chosen && !provider) {
    refused(server, 'sign-in: unknown provider', { interaction: open.value.id })
    throw new PageProblem('form_refused', 400)
  }
  if (provider?.open.kind === 'redirect') return askProvider(server, request, open, provider)
  if (provider?.open.kind === 'host') return askHost(server, request, arrival, open, provider)
  return redirect(pageOf(server.endpoints.signIn, open.value.id))
}

const answerEarly = async (server: ServerContext, open: OpenInteraction): Promise<Reply | undefined> => {
  const finished = await answerFinished(server, open)
  if (finished || open.value.approved) return finished
  return redirect(pageOf(server.endpoints.consent, open.value.id))
}

const show = async (server: ServerContext, open: OpenInteraction): Promise<Reply> => {
  const { signedIn, shownAccount, approved } = open.value
  const somebody = signedIn && (await identifyAccount(server, signedIn))
  if (somebody && approved && somebody.account.id !== shownAccount)
    return askWho(server, open, somebody, approved.resources)
  return showAgain(server, open, {})
}

/** The sign-in page; after an attempt, with what was wrong. */
const showAgain = async (
  server: ServerContext,
  open: OpenInteraction,
  attempt: { readonly username?: string; readonly refused?: SignInPage['refused'] },
): Promise<Reply> => {
  const asked = await readAsked(server, open.value.request)
  const local = server.providers.find((provider) => provider.open.kind === 'password')
  const username = attempt.username ?? open.value.request.loginHint ?? ''
  return page({
    kind: 'sign-in',
    form: formOf(open, server.endpoints.signIn, undefined),
    client: asked.client,
    resources: asked.resources({}, {}),
    ...(local ? { password: { provider: local.id, name: local.name, username: username.slice(0, 320) } } : {}),
    others: server.providers.flatMap(({ id, name }) => (id === local?.id ? [] : [{ provider: id, name }])),
    ...(attempt.refused ? { refused: attempt.refused } : {}),
  })
}

const askWho = async (
  server: ServerContext,
  open: OpenInteraction,
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

const continueAs = async (server: ServerContext, open: OpenInteraction, form: URLSearchParams): Promise<Reply> => {
  const { signedIn, approved } = open.value
  const somebody = signedIn && (await identifyAccount(server, signedIn))
  if (!somebody || !approved || !isShown(open, form, somebody.account.id)) return show(server, open)
  return finish(server, open, approved.resources, somebody, { shownAccount: somebody.account.id })
}
