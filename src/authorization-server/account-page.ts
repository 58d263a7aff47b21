import type { AccountRequest } from '../records/interaction.ts'
import { accountLocation, beginAccountSignIn, noticeMark } from './account-sign-in.ts'
import { limitRequests } from './authorize-limit.ts'
import { browserSecret, endBrowserSession, signOutEverywhere } from './browser-session.ts'
import { connectedApps, disconnect } from './connections.ts'
import type { Arrival, ServerContext } from './context.ts'
import { type AccountNotice, PageProblem, page, type Reply, redirect } from './pages.ts'
import { readPersonForm } from './person-form.ts'
import { refused } from './refusal.ts'
import { isOwnForm, type Visitor, whoVisits } from './visitor.ts'

/** Which apps a person has connected. Who is not signed in signs in first. */
export const accountPage = async (server: ServerContext, request: Request, arrival: Arrival): Promise<Reply> => {
  const { visitor, signIn } = await whoVisits(server, request)
  if (visitor) return show(server, visitor, toldNotice(server, request))
  if (signIn && server.providers.length === 1) return { kind: 'response', response: signIn }
  await limitRequests(server, arrival)
  return beginAccountSignIn(server, request, { purpose: 'visit', prompt: [] })
}

/** What the person does there. */
export const accountDecision = async (server: ServerContext, request: Request, arrival: Arrival): Promise<Reply> => {
  const form = await readPersonForm(server, request)
  const { visitor } = await whoVisits(server, request)
  if (!visitor) return redirect(server.endpoints.account)
  if (!isOwnForm(visitor, form)) {
    refused(server, 'account form: its CSRF token is missing, wrong or of another sign-in')
    return show(server, visitor, 'outdated')
  }
  switch (form.get('decision')) {
    case 'disconnect': {
      const client = form.get('client') ?? ''
      if (visitor.account) await disconnect(server, visitor.account.id, client)
      return redirect(accountLocation(server, request, 'disconnected'))
    }
    case 'add':
      return add(server, request, arrival, visitor, form.get('provider') ?? '')
    case 'sign_out':
      return redirect(server.endpoints.account, [await endBrowserSession(server, request)])
    case 'sign_out_everywhere':
      if (visitor.account) await signOutEverywhere(server, visitor.account.id)
      return redirect(server.endpoints.account, [await endBrowserSession(server, request)])
    default:
      refused(server, 'account form: no decision')
      throw new PageProblem('form_refused', 400)
  }
}

const show = async (server: ServerContext, visitor: Visitor, notice?: AccountNotice): Promise<Reply> => {
  const { account, shown, signedInHere, csrf, cookies } = visitor
  return page(
    {
      kind: 'account',
      form: { action: server.endpoints.account, csrf },
      account: shown,
      apps: account ? await connectedApps(server, account.id) : [],
      identities: (account?.identities ?? []).flatMap(({ provider: id }) => {
        const provider = server.providers.find((each) => each.id === id)
        return provider ? [{ provider: provider.name, current: provider.name === shown.provider }] : []
      }),
      addable: addable(server, visitor).map(({ id, name }) => ({ provider: id, name })),
      signedInHere,
      ...(notice === undefined ? {} : { notice }),
      now: server.clock.now(),
    },
    cookies,
  )
}

const notices: readonly AccountNotice[] = ['disconnected', 'added', 'already_yours', 'of_another', 'other_person']

/** A link from elsewhere can't make the page say anything. */
const toldNotice = (server: ServerContext, request: Request): AccountNotice | undefined => {
  const told = new URL(request.url).searchParams.get('notice')
  const secret = browserSecret(server, request)
  if (told === null || secret === undefined) return undefined
  return notices.find((notice) => told === `${notice}.${noticeMark(secret, notice)}`)
}

/** Where this person may sign in, too. Not at the host: it says itself who its users are. */
const addable = ({ accounts, providers }: ServerContext, { account, signedInHere }: Visitor) =>
  account && signedInHere && accounts.linkable
    ? providers.filter(
        ({ id, open }) => open.kind !== 'host' && account.identities.every(({ provider }) => provider !== id),
      )
    : []

// Long enough to read the page, short enough that it is still the same person.
const freshFor = 600

const add = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  visitor: Visitor,
  wanted: string,
): Promise<Reply> => {
  const provider = addable(server, visitor).find(({ id }) => id === wanted)
  if (!provider || !visitor.account) {
    refused(server, 'account form: no provider that could be added')
    throw new PageProblem('form_refused', 400)
  }
  await limitRequests(server, arrival)
  const asked = { account: visitor.account.id, provider: provider.id }
  const fresh = server.clock.now() / 1000 - visitor.authTime <= freshFor
  const next: AccountRequest = fresh
    ? { purpose: 'add', ...asked, prompt: ['select_account'] }
    : { purpose: 'confirm', ...asked, prompt: ['login'] }
  return beginAccountSignIn(server, request, next)
}
