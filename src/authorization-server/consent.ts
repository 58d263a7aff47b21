import { decidePrompt } from '../policy/sign-in.ts'
import type { AuthorizationInteraction, ResourceScopes } from '../records/interaction.ts'
import { identifyAccount, type Somebody } from './account-label.ts'
import { readAsked, tickedResources } from './asking.ts'
import { readBrowserSession } from './browser-session.ts'
import { answerFinished, deny, finish } from './complete.ts'
import { rememberedScopes } from './consents.ts'
import type { Arrival, ServerContext } from './context.ts'
import {
  advance,
  checkCsrf,
  formOf,
  isShown,
  type OpenAuthorization,
  pageOf,
  withAuthorization,
} from './interaction.ts'
import { PageProblem, page, type Reply, redirect } from './pages.ts'
import { readPersonForm } from './person-form.ts'
import { refused } from './refusal.ts'
import { startSignIn } from './sign-in.ts'

/** The consent page: who asks for what, and for which account. */
export const consentPage = (server: ServerContext, request: Request): Promise<Reply> =>
  withAuthorization(server, request, new URL(request.url).searchParams.get('interaction'), async (open) => {
    return (await answerFinished(server, open)) ?? (await show(server, request, open))
  })

/** What the person decided there. */
export const consentDecision = async (server: ServerContext, request: Request, arrival: Arrival): Promise<Reply> => {
  const form = await readPersonForm(server, request)
  return withAuthorization(server, request, form.get('interaction'), async (open) => {
    checkCsrf(server, open, form)
    const finished = await answerFinished(server, open)
    if (finished) return finished
    switch (form.get('decision')) {
      case 'approve':
        return approve(server, request, arrival, open, form)
      case 'deny':
        return deny(server, open)
      case 'switch':
        // The page is shown again, without the account: what was allowed with it counts no more.
        await advance(server, open, {
          shownAccount: undefined,
          signedIn: undefined,
          approved: undefined,
          switching: true,
        })
        return redirect(pageOf(server.endpoints.consent, open.value.id))
      default:
        refused(server, 'consent: no decision', { interaction: open.value.id })
        throw new PageProblem('form_refused', 400)
    }
  })
}

const show = async (
  server: ServerContext,
  request: Request,
  before: OpenAuthorization,
  unticked?: ResourceScopes,
): Promise<Reply> => {
  const somebody = await whoIsHere(server, request, before)
  const shownAccount = somebody?.account.id
  const open = before.value.shownAccount === shownAccount ? before : await advance(server, before, { shownAccount })
  const authorization = open.value.request
  const [asked, remembered = {}] = await Promise.all([
    readAsked(server, authorization),
    somebody && rememberedScopes(server, authorization, somebody.account.id),
  ])
  return page({
    kind: 'consent',
    form: formOf(open, server.endpoints.consent, shownAccount),
    client: asked.client,
    // Asked for is ticked: the person takes away. What was allowed before is marked.
    resources: asked.resources(unticked ?? authorization.resources, remembered),
    ...(somebody ? { account: somebody.shown } : {}),
    providers: server.providers.map(({ name }) => name),
    signInFollows: mustSignIn(server, open.value, somebody),
    nothingTicked: unticked !== undefined,
    accountPage: server.endpoints.account,
  })
}

const approve = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  open: OpenAuthorization,
  form: URLSearchParams,
): Promise<Reply> => {
  const { request: authorization, shownAccount, id } = open.value
  // Another tab may have shown another account since.
  if (!isShown(open, form, shownAccount)) return show(server, request, open)
  const resources = tickedResources(server, authorization, form.getAll('scope'))
  if (Object.keys(resources).length === 0) return show(server, request, open, {})
  const approved = { resources, at: open.now }
  const audit = () =>
    server.audit({
      type: 'consent.approved',
      clientId: authorization.clientId,
      interaction: id,
      resources,
      remembered: false,
    })
  const somebody = await whoIsHere(server, request, open)
  if (somebody && somebody.account.id === shownAccount && !mustSignIn(server, open.value, somebody)) {
    const reply = await finish(server, open, resources, somebody, { approved })
    audit()
    return reply
  }
  // Pressed again: a write that changes nothing would only undo what another press has begun.
  if (isSame(open.value.approved?.resources, resources)) return startSignIn(server, request, arrival, open)
  const next = await advance(server, open, { approved })
  audit()
  return startSignIn(server, request, arrival, next)
}

const isSame = (before: ResourceScopes | undefined, now: ResourceScopes): boolean =>
  JSON.stringify(before) === JSON.stringify(now)

/** Who signed in in this interaction, or is signed in in this browser; nobody where the request or the person wants to choose. */
const whoIsHere = async (
  server: ServerContext,
  request: Request,
  { value }: OpenAuthorization,
): Promise<Somebody | undefined> => {
  if (value.signedIn) return identifyAccount(server, value.signedIn)
  const chooses = value.request.prompt.includes('select_account') || value.request.prompt.includes('create')
  return chooses || value.switching ? undefined : readBrowserSession(server, request)
}

const mustSignIn = (
  server: ServerContext,
  { request, signedIn }: AuthorizationInteraction,
  somebody: Somebody | undefined,
): boolean => {
  const decision = decidePrompt({
    prompt: request.prompt,
    maxAge: request.maxAge,
    session: somebody,
    signedInNow: signedIn !== undefined,
    consentSkippable: false,
    now: server.clock.now(),
  })
  return decision.kind === 'error' || decision.signIn
}
