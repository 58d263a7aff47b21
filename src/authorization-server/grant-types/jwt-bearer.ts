import { base64url } from '../../crypto/bytes.ts'
import { OAuthError } from '../../oauth/errors.ts'
import { readParameters } from '../../oauth/parameters.ts'
import type { Account } from '../../records/account.ts'
import { assertionRef, type WorkloadStatement, workloadRef } from '../../records/assertion.ts'
import { type Client, clientRef } from '../../records/client.ts'
import { type AssertionGrant, accountGrantRef, clientGrantRef, grantRef, sessionGrantRef } from '../../records/grant.ts'
import { put } from '../../records/records.ts'
import { StoreUnavailable } from '../../store/store.ts'
import { type IssuedAccessToken, issueAccessToken, issueClientToken } from '../access-token.ts'
import { type Assertion, assertionSkew, refusedAssertion, verifyAssertion } from '../assertion.ts'
import type { EnterpriseIssuer, WorkloadIssuer } from '../assertion-options.ts'
import { clientPuts } from '../client-life.ts'
import type { ServerContext } from '../context.ts'
import { checkBinding } from '../dpop.ts'
import {
  type EnterpriseGrant,
  enterpriseTarget,
  readEnterpriseGrant,
  refusedPerson,
  signInOf,
} from '../enterprise-assertion.ts'
import { knownClient, unchangedClient } from '../known-client.ts'
import { accessTokenLifetime } from '../lifetimes.ts'
import type { Target } from '../target.ts'
import { newGrantId } from '../tokens.ts'
import { workloadClient } from '../workload-assertion.ts'
import { clientTarget } from './client-credentials.ts'
import {
  decideUntilFinal,
  type Exchange,
  type GrantType,
  type TokenResponse,
  tokenResponse,
  tryCommit,
} from './grant-type.ts'

interface Asked {
  readonly scope?: string
  readonly resource?: readonly string[]
}

type Verified =
  | { readonly kind: 'enterprise'; readonly assertion: Assertion<EnterpriseIssuer>; readonly facts: EnterpriseGrant }
  | { readonly kind: 'workload'; readonly assertion: Assertion<WorkloadIssuer>; readonly client: Client }

/**
 * An assertion of a trusted issuer in place of a person's approval here (ID-JAG), or in place of a client's secret (a workload). There is no
 * refresh token: the issuer is asked again.
 * @see RFC 7523 §2.1, draft-ietf-oauth-identity-assertion-authz-grant §4.4
 */
export const jwtBearer: GrantType = {
  refusal: 'assertion.refused',
  ofClients: true,
  isServed: ({ assertions }) => assertions !== undefined,
  read(form) {
    const { assertion: text, ...asked } = readParameters(form, ['assertion', 'scope', 'resource'])
    if (text === undefined) throw new OAuthError('invalid_request', 'assertion is missing')
    let verified: Verified | undefined
    return {
      grant: undefined,
      async vouch(server, now) {
        verified = verifiedAs(server, await verifyAssertion(server, text, now))
        return verified.kind === 'workload'
          ? { clientId: verified.client.id, proves: true }
          : { clientId: verified.facts.clientId, proves: false }
      },
      async exchange(server, exchange) {
        if (!verified) throw new TypeError('an assertion that was never verified')
        return verified.kind === 'workload'
          ? exchangeWorkload(server, verified.assertion, asked, exchange)
          : exchangeEnterprise(server, verified.assertion, verified.facts, asked, exchange)
      },
    }
  },
}

const verifiedAs = (server: ServerContext, assertion: Assertion): Verified => {
  const { issuer, ...said } = assertion
  if (issuer.kind === 'workload') {
    const workload = { ...said, issuer }
    return { kind: 'workload', assertion: workload, client: workloadClient(server, workload) }
  }
  const enterprise = { ...said, issuer }
  return { kind: 'enterprise', assertion: enterprise, facts: readEnterpriseGrant(enterprise) }
}

const exchangeEnterprise = async (
  server: ServerContext,
  assertion: Assertion<EnterpriseIssuer>,
  { clientId, jti, actor, jkt }: EnterpriseGrant,
  asked: Asked,
  first: Exchange,
): Promise<TokenResponse> => {
  const { records } = server
  const { client, authentication } = first
  // Who is named by the assertion must be who uses it, and nobody else can pose as a client that proves itself.
  if (authentication === 'none') throw new OAuthError('unauthorized_client', 'this client has no secret or key')
  if (clientId !== client.value.id) throw refusedAssertion('other_client')
  if (jkt !== undefined && jkt !== first.jkt) throw refusedAssertion('proof_of_possession')
  const target = enterpriseTarget(server, assertion, asked)
  checkBinding(server, client.value, target.resource, first.jkt)
  await first.useProof?.()

  const mark = assertionRef(assertion.issuer.issuer, jti)
  const attempt = base64url(server.random.bytes(16))
  const reread = async (): Promise<Exchange> => {
    const { values, now } = await records.get(clientRef(client.value.id))
    const known = knownClient(server, client.value.id, values[0])
    if (!known) throw refusedAssertion('client_gone')
    return { ...first, client: known, now }
  }
  let made: Made | undefined
  return decideUntilFinal(first, reread, async ({ client, now }) => {
    const [used] = (await records.get(mark)).values
    if (used && used.value.attempt !== attempt) throw refusedAssertion('replayed')
    // Signed before the commit: once the assertion is used up, nothing may go wrong any more.
    const { mayAct } = client.value
    made ??= await make(server, assertion, { clientId, actor, jkt: first.jkt, mayAct }, target, now)
    const { grant, accessToken } = made
    if (!used) {
      const life = Math.max(1, grant.expiresAt - now)
      const result = await tryCommit(records, {
        unchanged: [mark, grantRef(grant.id), ...unchangedClient(client)],
        puts: [
          put(mark, { attempt }, Math.max(1, (assertion.expiresAt + assertionSkew) * 1000 - now + 1000)),
          put(grantRef(grant.id), grant, life),
          put(accountGrantRef(grant.account, grant.id), { clientId }, life),
          put(clientGrantRef(clientId, grant.id), {}, life),
          put(sessionGrantRef(grant.upstreamSession, grant.id), {}, life),
          ...clientPuts(server, client.value, grant, now),
        ],
      })
      if (!result) return undefined
    }
    const { provider, issuer } = assertion.issuer
    const { resource } = target
    const facts = { clientId, grant: grant.id, account: grant.account, resource, scopes: accessToken.scopes }
    server.audit({ type: 'assertion.accepted', provider, issuer, subject: assertion.subject, ...facts })
    // Of several that the assertion names it is one.
    return { ...tokenResponse(accessToken, undefined), resource }
  })
}

interface Made {
  readonly grant: AssertionGrant
  readonly accessToken: IssuedAccessToken
}

/** The person's account, what was said of them, and a grant of it: no other holds on to it, so that it ends with its one access token. */
const make = async (
  server: ServerContext,
  assertion: Assertion<EnterpriseIssuer>,
  {
    clientId,
    actor,
    jkt,
    mayAct,
  }: Pick<EnterpriseGrant, 'clientId' | 'actor' | 'jkt'> & { readonly mayAct: string | undefined },
  target: Target,
  now: number,
): Promise<Made> => {
  const { provider } = assertion.issuer
  const signIn = signInOf(assertion, now)
  const life = Math.min(accessTokenLifetime(server, target.resource), vouchedFor(server, provider)) * 1000
  const account = await accountOf(server, assertion, now)
  const session = await server.custody.begin(account, provider, signIn, life + clockMargin).catch((error: unknown) => {
    throw refusedPerson(error)
  })
  const grant: AssertionGrant = {
    id: newGrantId(server.random),
    kind: 'assertion',
    issuer: server.issuer,
    account: account.id,
    subject: account.subject,
    clientId,
    resources: { [target.resource]: target.scopes },
    upstreamSession: session.id,
    authTime: signIn.authTime,
    createdAt: now,
    expiresAt: now + life,
    ...(actor === undefined ? {} : { actor }),
  }
  return { grant, accessToken: await issueAccessToken(server, grant, target, now, jkt, { mayAct }) }
}

/**
 * How long a provider's word counts by the policy for its people, in seconds. Nothing came with an assertion by which it could be asked again:
 * the client brings a new one.
 */
const vouchedFor = ({ providers }: ServerContext, provider: string): number => {
  const when = providers.find(({ id }) => id === provider)?.revalidation?.when
  return when === undefined || when === 'on_refresh' ? Number.POSITIVE_INFINITY : when.every
}

/** Clocks differ: what a token stands on outlives it. Milliseconds. */
const clockMargin = 60_000

const accountOf = async (
  server: ServerContext,
  assertion: Assertion<EnterpriseIssuer>,
  now: number,
): Promise<Account> => {
  const { provider, issuer, linkByEmail } = assertion.issuer
  const signIn = signInOf(assertion, now)
  try {
    const { account, created } = await server.accounts.resolve(provider, signIn, linkByEmail)
    if (created) {
      const { subject } = signIn
      server.audit({ type: 'sign_in.succeeded', provider, account: account.id, issuer, subject, created })
    }
    return account
  } catch (error) {
    throw refusedPerson(error)
  }
}

/** A workload is a client that proves itself by what its platform says of it: its tokens are the client's own, and live by it. */
const exchangeWorkload = async (
  server: ServerContext,
  { issuer: { provider, issuer }, subject, claims }: Assertion<WorkloadIssuer>,
  asked: Asked,
  { client: { value: client }, now, jkt, useProof }: Exchange,
): Promise<TokenResponse> => {
  const target = clientTarget(server, client, asked)
  checkBinding(server, client, target.resource, jkt)
  await useProof?.()
  const statement: WorkloadStatement = { provider, issuer, subject, said: [{ source: 'assertion', at: now, claims }] }
  const upstream = { provider, issuer, subject, claims: { ...claims, iss: issuer, sub: subject } }
  const accessToken = await issueClientToken(server, client.id, target, now, jkt, upstream)
  const { committed } = await server.records.commit({
    puts: [put(workloadRef(accessToken.id), statement, accessToken.expiresIn * 1000 + clockMargin)],
  })
  if (!committed) throw new StoreUnavailable('what a platform said was not written')
  server.audit({ type: 'assertion.accepted', provider, issuer, subject, clientId: client.id, ...target })
  return tokenResponse(accessToken, undefined)
}
