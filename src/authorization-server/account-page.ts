import { hashStrings } from '../crypto/hash.ts'
import type { Account, Identity } from '../records/account.ts'
import type { AccountRequest } from '../records/interaction.ts'
import { accountLocation, beginAccountSignIn, noticeMark } from './account-sign-in.ts'
import { limitRequests } from './authorize-limit.ts'
import { browserSecret, endBrowserSession, signOutEverywhere } from './browser-session.ts'
import { connectedApps, disconnect, removeIdentity } from './connections.ts'
import type { Arrival, ServerContext } from './context.ts'
import { revokeGrantById } from './grants.ts'
import { type AccountNotice, PageProblem, page, type Reply, redirect } from './pages.ts'
import { readPersonForm } from './person-form.ts'
import { isFreshSignIn, provingProviders } from './proven-sign-in.ts'
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
    case 'end_connection': {
      const ended =
        visitor.account && (await revokeGrantById(server, form.get('grant') ?? '', 'person', visitor.account.id))
      // A second click finds nothing, either: the answer is the same, and says nothing of others' grants.
      if (!ended) refused(server, 'account form: no connection of this account')
      return redirect(accountLocation(server, request, 'connection_ended'))
    }
    case 'add':
      return add(server, request, arrival, visitor, form.get('provider') ?? '')
    case 'remove':
      return remove(server, request, arrival, visitor, form.get('identity') ?? '')
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
      identities: identitiesOf(server, visitor),
      addable: addable(server, visitor).map(({ id, name }) => ({ provider: id, name })),
      signedInHere,
      ...(notice === undefined ? {} : { notice }),
      now: server.clock.now(),
    },
    cookies,
  )
}

const notices: readonly AccountNotice[] = [
  'disconnected',
  'connection_ended',
  'added',
  'removed',
  'already_yours',
  'of_another',
  'other_person',
  'not_proven',
]

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

const identitiesOf = ({ providers }: ServerContext, { account, identity, signedInHere }: Visitor) =>
  (account?.identities ?? []).flatMap((each) => {
    const { provider: id, issuer, subject } = each
    const name = providers.find((provider) => provider.id === id)?.name
    // At the host, all that can be said is that it is the host's.
    const current = signedInHere ? identity?.issuer === issuer && identity.subject === subject : true
    return name === undefined ? [] : [{ id: identityMark(each), provider: name, current }]
  })

const identityMark = ({ issuer, subject }: Identity): string => hashStrings(issuer, subject)

/** Not the one that is in use: whoever takes that away could not come back. */
const remove = async (
  server: ServerContext,
  request: Request,
  arrival: Arrival,
  visitor: Visitor,
  wanted: string,
): Promise<Reply> => {
  const { account, identity } = visitor
  const chosen = account?.identities.find((each) => identityMark(each) === wanted)
  const inUse = chosen?.issuer === identity?.issuer && chosen?.subject === identity?.subject
  if (!account || !identity || !chosen || inUse) {
    refused(server, 'account form: no identity that could be removed')
    throw new PageProblem('form_refused', 400)
  }
  if (!isFreshSignIn(server, account, visitor)) {
    await limitRequests(server, arrival)
    return beginAccountSignIn(server, request, confirmation(server, account))
  }
  await removeIdentity(server, account, chosen)
  return redirect(accountLocation(server, request, 'removed'))
}

/** The person proves again who they are, where one sees it; where there is no such place, where they are asked at least. */
const confirmation = (server: ServerContext, account: Account): AccountRequest => {
  const proving = provingProviders(server, account).map(({ id }) => id)
  const among = proving.length > 0 ? proving : account.identities.map(({ provider }) => provider)
  return { purpose: 'confirm', account: account.id, among, prompt: [proving.length > 0 ? 'login' : 'select_account'] }
}

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
  const { account } = visitor
  const next: AccountRequest = isFreshSignIn(server, account, visitor)
    ? { purpose: 'add', account: account.id, provider: provider.id, prompt: ['select_account'] }
    : { ...confirmation(server, account), provider: provider.id }
  return beginAccountSignIn(server, request, next)
}
