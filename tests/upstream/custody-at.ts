import { type Account, accountRef } from '../../src/records/account.ts'
import { put } from '../../src/records/records.ts'
import { upstreamSessionRef } from '../../src/records/upstream-session.ts'
import { type CustodyOptions, createCustody } from '../../src/upstream/custody.ts'
import { openid } from '../../src/upstream/openid.ts'
import type { ClaimsSchema, NamedProvider, RedirectProvider, SignIn } from '../../src/upstream/provider.ts'
import { type OidcProvider, signInAt } from '../support/oidc-provider.ts'
import { named, plainRequest, redirecting, redirectUri, type TestContext, testContext } from './context.ts'

export const account: Account = { id: 'account-1', subject: 'account-1', createdAt: 0, identities: [] }
export const hour = 3_600_000

export interface Node {
  readonly context: TestContext
  readonly named: NamedProvider
  readonly open: RedirectProvider
  readonly custody: ReturnType<typeof createCustody>
}

/** Sessions are begun for accounts that there are. */
export const stored = async ({ records }: Pick<Awaited<ReturnType<typeof testContext>>, 'records'>): Promise<void> => {
  await records.commit({ unchanged: [accountRef(account.id)], puts: [put(accountRef(account.id), account)] })
}

/** What tests of custody do at a real provider. */
export const custodyAt = (running: () => OidcProvider) => {
  /** A node of the cluster that stands on the same store. */
  const node = async (
    shared: Parameters<typeof testContext>[0] = {},
    { claims, ...options }: CustodyOptions & { claims?: ClaimsSchema<unknown> } = {},
  ): Promise<Node> => {
    const context = await testContext(shared)
    await stored(context)
    const { issuer, clientId, clientSecret } = running()
    const scopes = ['openid', 'profile', 'email', 'groups']
    const configured = openid({ issuer, clientId, clientSecret, scopes, ...(claims ? { claims } : {}) })
    const provided = named(configured, context)
    const custody = createCustody(context, [provided], options)
    return { context, named: provided, open: redirecting(provided.open), custody }
  }

  const signIn = async ({ open }: Node, login = 'alice'): Promise<SignIn> => {
    const { url, pending } = await open.begin(plainRequest)
    return open.complete(new URL(await signInAt(url, { login })), pending, redirectUri)
  }

  const begun = async (options: CustodyOptions = {}, shared = {}) => {
    const first = await node(shared, options)
    const said = await signIn(first)
    const session = await first.custody.begin(account, 'openid', said)
    return { ...first, said, session }
  }

  const refreshes = async () => (await running().requests()).refresh_token ?? 0

  /** Works with a token of the provider's, or it does not. */
  const userinfoStatus = async (token: string) =>
    (await fetch(`${running().issuer}/me`, { headers: { authorization: `Bearer ${token}` } })).status

  const sessionOf = async ({ context }: Node, id: string) =>
    (await context.records.get(upstreamSessionRef(id))).values[0]?.value

  return { node, begun, signIn, refreshes, userinfoStatus, sessionOf }
}
