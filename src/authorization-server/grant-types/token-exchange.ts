import { type Actor, actorChain } from '../../identity/actor.ts'
import type { Json } from '../../identity/json.ts'
import { TokenInvalid } from '../../identity/verifier.ts'
import { OAuthError, type OAuthErrorCode } from '../../oauth/errors.ts'
import { readParameters } from '../../oauth/parameters.ts'
import { findResource } from '../../oauth/resource.ts'
import { accessTokenType } from '../../oauth/token-exchange.ts'
import { decideExchange, type ExchangeDecision, type ExchangeRefusal } from '../../policy/exchange.ts'
import { actorOf, type ExchangeGrant, type Grant, grantRef } from '../../records/grant.ts'
import { put } from '../../records/records.ts'
import { StoreUnavailable } from '../../store/store.ts'
import { issueAccessToken } from '../access-token.ts'
import type { ServerContext } from '../context.ts'
import { checkBinding } from '../dpop.ts'
import { indexesOf } from '../grants.ts'
import { type Identified, identify } from '../identify.ts'
import { accessTokenLifetime } from '../lifetimes.ts'
import { readSignedAccessToken, type SignedAccessToken } from '../signed-access-token.ts'
import { narrowedScopes, type Target } from '../target.ts'
import { newGrantId } from '../tokens.ts'
import { AuditedRefusal, type Exchange, type GrantType, type TokenResponse, tokenResponse } from './grant-type.ts'
import { handOutUpstreamToken, isUpstreamRequest } from './upstream-vault.ts'

interface Asked {
  readonly subjectToken: string
  readonly actorToken: string | undefined
  /** Of `resource` and `audience` together. */
  readonly targets: readonly string[]
  readonly scope?: string
}

const parameterNames = [
  'subject_token',
  'subject_token_type',
  'actor_token',
  'actor_token_type',
  'requested_token_type',
  'resource',
  'audience',
  'scope',
] as const

/**
 * Exchanges a person's access token for another one, that says who acts. It has a grant of its own, a child of that of the token, and no
 * refresh token.
 * @see RFC 8693 §2
 */
export const tokenExchange: GrantType = {
  refusal: 'exchange.refused',
  ofClients: true,
  read(form) {
    const asked = readAsked(form)
    return { grant: undefined, exchange: (server, exchange) => audited(server, asked, exchange) }
  },
}

const readAsked = (form: URLSearchParams): Asked => {
  const asked = readParameters(form, parameterNames)
  const { subject_token: subjectToken, actor_token: actorToken, resource = [], audience = [], scope } = asked
  if (subjectToken === undefined) throw invalid('subject_token is missing')
  checkType('subject_token_type', asked.subject_token_type ?? 'missing')
  if (actorToken === undefined && asked.actor_token_type !== undefined) throw invalid('actor_token is missing')
  if (actorToken !== undefined) checkType('actor_token_type', asked.actor_token_type ?? 'missing')
  checkType('requested_token_type', asked.requested_token_type ?? accessTokenType)
  return { subjectToken, actorToken, targets: [...resource, ...audience], ...(scope === undefined ? {} : { scope }) }
}

const checkType = (name: string, value: string): void => {
  if (value !== accessTokenType) throw invalid(`${name}: expected ${accessTokenType}`)
}

/** What is wrong with either token is `invalid_request`, also where policy refuses it. @see RFC 8693 §2.2.2 */
const invalid = (description: string, reason = description): OAuthError =>
  new OAuthError('invalid_request', description, { reason })

/** Refusals name the grant of the token that was to be exchanged, once that is known to be one of ours. */
const audited = async (server: ServerContext, asked: Asked, exchange: Exchange): Promise<TokenResponse> => {
  const about: { grant?: string } = {}
  try {
    return await decide(server, asked, exchange, about)
  } catch (error) {
    if (!(error instanceof OAuthError) || error.status >= 500 || about.grant === undefined) throw error
    const { code, description, reason } = error
    server.audit({ type: 'exchange.refused', reason, clientId: exchange.client.value.id, grant: about.grant })
    throw new AuditedRefusal(code, description, { cause: error })
  }
}

const decide = async (
  server: ServerContext,
  asked: Asked,
  exchange: Exchange,
  about: { grant?: string },
): Promise<TokenResponse> => {
  const { client, authentication, jkt } = exchange
  const subject = await readSubject(server, asked.subjectToken, jkt, about)
  const { signed, facts, grant } = subject
  const upstream = { ...asked, ...subject }
  if (isUpstreamRequest(server, upstream)) return handOutUpstreamToken(server, exchange, upstream)
  const actor = asked.actorToken === undefined ? undefined : await readActingClient(server, asked.actorToken, jkt)
  const resource = targetOf(server, asked.targets, signed.resource)
  const limits = { ...limitsOf(grant), [signed.resource]: facts.scopes }
  const decision = decideExchange({
    authentication,
    client: client.value.id,
    policy: client.value.exchange,
    subject: {
      clientId: signed.clientId,
      resource: signed.resource,
      scopes: facts.scopes,
      mayAct: mayActIn(signed) === subject.mayAct ? subject.mayAct : undefined,
      // Where a provider named who acts, they count, too: a chain must stay readable.
      exchanges: Math.max(ancestorsOf(grant).length, actorChain(actorOf(grant)).length),
    },
    actor,
    target: resource,
    limits,
  })
  if (!decision.allowed) throw refusal(decision.reason)
  const target = {
    resource,
    scopes: narrowedScopes(decision.scopes, asked.scope, findResource(server.resources, resource)?.implies),
  }
  checkBinding(server, client.value, resource, jkt)
  await exchange.useProof?.()
  return issue(server, exchange, { signed, parent: grant, limits, target, decision })
}

interface Subject extends Pick<Identified, 'facts' | 'mayAct'> {
  readonly signed: SignedAccessToken
  readonly grant: Grant
}

/** The person's token: alive as at the gate. */
const readSubject = async (
  server: ServerContext,
  token: string,
  jkt: string | undefined,
  about: { grant?: string },
): Promise<Subject> => {
  const { grant, ...read } = await readToken(server, 'subject_token', token, jkt, about)
  // Who verifies elsewhere tells a client's own token by its subject: exchanged, it would look like a person's.
  if (!grant) throw invalid('subject_token: expected the token of a person', 'subject_token: a client’s own')
  return { ...read, grant }
}

/** The client that an actor token is of. */
const readActingClient = async (server: ServerContext, token: string, jkt: string | undefined): Promise<string> => {
  const { signed, grant } = await readToken(server, 'actor_token', token, jkt)
  if (grant) throw invalid('actor_token: expected a client’s own token', 'actor_token: a person’s')
  return signed.clientId
}

const readToken = async (
  server: ServerContext,
  name: 'subject_token' | 'actor_token',
  token: string,
  jkt: string | undefined,
  about: { grant?: string } = {},
): Promise<Identified & { readonly signed: SignedAccessToken }> => {
  try {
    const signed = await readSignedAccessToken(server, token)
    if (signed.grant !== undefined) about.grant = signed.grant
    // A bound token is of no use to who has it without the key, here as everywhere.
    if (signed.jkt !== undefined && signed.jkt !== jkt) throw bound(name)
    return { signed, ...(await identify(server, signed)) }
  } catch (error) {
    if (!(error instanceof TokenInvalid)) throw error
    throw invalid(`${name} is not valid (any more)`, `${name}: ${error.reason}`)
  }
}

/**
 * Who was only called with it has the proof for that call, which proves nothing here: it is told so, and not that the token is bad.
 * @see RFC 9449 §7.1
 */
const bound = (name: string): OAuthError =>
  invalid(`${name} is bound to a key (cnf): send a DPoP proof of that key. Only its client can`, `${name}: binding`)

/** @see RFC 8693 §4.4 */
const mayActIn = ({ claims: { may_act: mayAct }, issuer }: SignedAccessToken): string | undefined => {
  if (typeof mayAct !== 'object' || mayAct === null || Array.isArray(mayAct)) return undefined
  const { iss = issuer, sub } = mayAct as Readonly<Record<string, Json | undefined>>
  return iss === issuer && typeof sub === 'string' ? sub : undefined
}

/** An `audience` is the URL of a resource, too. Left out, the new token is for the same as the old one. */
const targetOf = ({ resources }: ServerContext, targets: readonly string[], own: string): string => {
  const named = targets.length === 0 ? [own] : targets
  const found = new Set(named.map((target) => findResource(resources, target)?.identifier))
  const [resource] = found
  if (resource === undefined || found.has(undefined)) {
    throw new OAuthError('invalid_target', 'resource or audience is not a resource of this server')
  }
  if (found.size > 1) throw new OAuthError('invalid_target', 'an access token is for one resource: ask for each alone')
  return resource
}

const refusals: Readonly<Record<ExchangeRefusal, readonly [OAuthErrorCode, string]>> = {
  public_client: ['unauthorized_client', 'this client has no secret'],
  actor_of_other_client: ['invalid_request', 'actor_token: of another client'],
  not_permitted: ['invalid_request', 'this client may not exchange this token'],
  too_many_exchanges: ['invalid_request', 'the token comes of too many exchanges'],
  target_not_permitted: ['invalid_target', 'this client may not have a token for this resource'],
}

const refusal = (reason: ExchangeRefusal): OAuthError => {
  const [code, description] = refusals[reason]
  return new OAuthError(code, description, { reason })
}

interface Decided {
  readonly signed: SignedAccessToken
  readonly parent: Grant
  readonly limits: ExchangeGrant['limits']
  readonly target: Target
  readonly decision: Extract<ExchangeDecision, { allowed: true }>
}

const issue = async (
  server: ServerContext,
  { client: { value: client }, now, jkt }: Exchange,
  { signed, parent, limits, target, decision }: Decided,
): Promise<TokenResponse> => {
  const { records, random } = server
  const before = actorOf(parent)
  const actor = decision.actor === undefined ? before : actingFor(server, decision.actor, before)
  // Clocks differ: what lives by ours may have ended by the store's.
  const expiresAt = Math.min(signed.expiresAt * 1000, now + accessTokenLifetime(server, target.resource) * 1000)
  if (expiresAt - now < 1000) throw invalid('subject_token is not valid (any more)', 'subject_token: expired')
  const grant: ExchangeGrant = {
    id: newGrantId(random),
    kind: 'exchange',
    issuer: parent.issuer,
    account: parent.account,
    subject: parent.subject,
    clientId: client.id,
    resources: { [target.resource]: target.scopes },
    upstreamSession: parent.upstreamSession,
    authTime: parent.authTime,
    createdAt: now,
    expiresAt,
    ancestors: [...ancestorsOf(parent), parent.id],
    clients: clientsBehind(parent, decision.actor, client.id),
    ...(actor ? { actor } : {}),
    limits: { ...limits, [target.resource]: target.scopes },
  }
  const accessToken = await issueAccessToken(server, grant, target, now, jkt, client)
  const ref = grantRef(grant.id)
  const life = expiresAt - now + margin
  const { committed } = await records.commit({
    unchanged: [ref],
    puts: [put(ref, grant, life), ...indexesOf(grant).map((index) => put(index, {}, life))],
  })
  if (!committed) throw new StoreUnavailable('the grant of an exchange was not written')
  server.audit({
    type: 'token.exchanged',
    clientId: client.id,
    grant: grant.id,
    parent: parent.id,
    parentClientId: parent.clientId,
    account: grant.account,
    by: decision.by,
    resource: target.resource,
    scopes: accessToken.scopes,
    actors: actorChain(actor),
    impersonated: decision.actor === undefined,
  })
  return { ...tokenResponse(accessToken, undefined), issued_token_type: accessTokenType }
}

/** Clocks differ: the record must not go before the token does. Milliseconds. */
const margin = 60_000

const actingFor = ({ issuer }: ServerContext, clientId: string, before: Actor | undefined): Actor => ({
  issuer,
  subject: clientId,
  clientId,
  ...(before ? { actor: before } : {}),
})

/** What the person granted to the first client is a bound, too; each exchange adds its own. */
const limitsOf = (grant: Grant): ExchangeGrant['limits'] => (grant.kind === 'exchange' ? grant.limits : grant.resources)

const ancestorsOf = (grant: Grant): readonly string[] => (grant.kind === 'exchange' ? grant.ancestors : [])

const clientsBehind = (parent: Grant, actor: string | undefined, own: string): readonly string[] => {
  const before = parent.kind === 'exchange' ? parent.clients : []
  const all = new Set([...before, parent.clientId, ...(actor === undefined ? [] : [actor])])
  return [...all].filter((id) => id !== own)
}
