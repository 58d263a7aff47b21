import { type Actor, readActor } from '../identity/actor.ts'
import { OAuthError } from '../oauth/errors.ts'
import { findResource, sameResource } from '../oauth/resource.ts'
import { offlineAccess, parseScope } from '../oauth/scope.ts'
import { withImplied } from '../oauth/scope-hierarchy.ts'
import { statedAuthTime } from '../policy/sign-in.ts'
import { type SignIn, SignInRefused } from '../upstream/provider.ts'
import { type Assertion, refusedAssertion } from './assertion.ts'
import type { EnterpriseIssuer } from './assertion-options.ts'
import type { ServerContext } from './context.ts'
import { narrowedScopes, type Target } from './target.ts'

/** What of an ID-JAG is checked whoever presents it. */
export interface EnterpriseGrant {
  readonly clientId: string
  readonly jti: string
  readonly actor: Actor | undefined
  /** The RFC 7638 thumbprint of the key that must be shown, where it is bound to one. */
  readonly jkt: string | undefined
}

/**
 * @throws OAuthError `invalid_grant`
 * @see draft-ietf-oauth-identity-assertion-authz-grant §3.1, §4.4.1
 */
export const readEnterpriseGrant = ({ issuer, claims }: Assertion<EnterpriseIssuer>): EnterpriseGrant => {
  const { client_id: clientId, jti, tenant, act, cnf, authorization_details: details } = claims
  if (!isText(clientId)) throw refusedAssertion('no_client_id')
  if (!isText(jti)) throw refusedAssertion('no_jti')
  // Its subjects are unique only within a tenant: those of another would be other people.
  if (tenant !== issuer.tenant) throw refusedAssertion('tenant')
  // It may allow less than the scopes do.
  if (details !== undefined) throw refusedAssertion('authorization_details')
  const actor = act === undefined ? undefined : readActor(act, issuer.issuer)
  if (act !== undefined && !actor) throw refusedAssertion('actor')
  return { clientId, jti, actor, jkt: boundKey(cnf) }
}

/** Some other way of binding than by a key's thumbprint is none that could be checked. */
const boundKey = (cnf: unknown): string | undefined => {
  if (cnf === undefined) return undefined
  const members = typeof cnf === 'object' && cnf !== null ? (cnf as Record<string, unknown>) : {}
  if (Object.keys(members).length === 1 && isText(members.jkt)) return members.jkt
  throw refusedAssertion('confirmation')
}

/** The person, as the enterprise's provider would say who signs in. @throws OAuthError `invalid_grant` */
export const signInOf = ({ issuer, subject, issuedAt, claims }: Assertion<EnterpriseIssuer>, now: number): SignIn => {
  const authTime = statedAuthTime(claims.auth_time, now)
  const named = issuer.subjectClaim === undefined ? subject : claims[issuer.subjectClaim]
  if (!isText(named)) throw refusedAssertion('no_subject')
  return {
    issuer: issuer.issuer,
    subject: named,
    authTime: authTime ?? issuedAt ?? Math.floor(now / 1000),
    said: [{ source: 'assertion', at: now, claims }],
  }
}

/**
 * One resource and its scopes: of those that the assertion names, no more than the configuration lets its issuer give and the request asks for.
 * @throws OAuthError `invalid_target`, `invalid_scope`, `invalid_grant`
 */
export const enterpriseTarget = (
  server: ServerContext,
  { issuer, claims }: Assertion<EnterpriseIssuer>,
  { resource: requested, scope }: { readonly resource?: readonly string[]; readonly scope?: string },
): Target => {
  const named = [claims.resource ?? []].flat()
  if (named.length === 0) throw refusedAssertion('no_resource')
  const ours = named.flatMap((each) => (isText(each) ? (findResource(server.resources, each) ?? []) : []))
  const wanted = new Set(
    requested ? requested.map((one) => ours.find(({ identifier }) => sameResource(identifier, one))) : ours,
  )
  const [target] = wanted
  if (!target || wanted.has(undefined)) {
    throw new OAuthError('invalid_target', 'resource is not one that the assertion is for')
  }
  if (wanted.size > 1) throw new OAuthError('invalid_target', 'an access token is for one resource: name it')
  const { identifier, scopes, defaultScopes, implies } = target
  const most = issuer.scopes ? (issuer.scopes[identifier] ?? undefined) : Object.keys(scopes)
  if (!most) throw new OAuthError('invalid_target', 'this issuer may not give access to this resource')
  const asserted = withImplied(assertedScopes(claims.scope) ?? defaultScopes, implies)
  const granted = asserted.filter((each) => Object.hasOwn(scopes, each) && most.includes(each))
  if (granted.length === 0 && asserted.length > 0) {
    throw new OAuthError('invalid_scope', 'the assertion has no scope that can be given here')
  }
  return { resource: identifier, scopes: narrowedScopes(granted, scope, implies) }
}

const assertedScopes = (scope: unknown): readonly string[] | undefined => {
  if (scope === undefined) return undefined
  const parsed = typeof scope === 'string' ? parseScope(scope) : undefined
  if (!parsed) throw refusedAssertion('scope')
  const scopes = parsed.filter((each) => each !== offlineAccess)
  return scopes.length > 0 ? scopes : undefined
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== '' && value.length <= 2048

/** A person whom the provider's own rules don't let in is not let in this way either. */
export const refusedPerson = (error: unknown): unknown =>
  error instanceof SignInRefused
    ? refusedAssertion(error.detail === undefined ? error.reason : `${error.reason} ${error.detail}`)
    : error
