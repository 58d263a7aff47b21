import type { Json, JsonObject } from '../identity/json.ts'

/** What a server makes of a person whom a provider vouches for. */
export interface AdmitDecision {
  /** Added to the claims, over what was said. `iss` and `sub` stay those that were verified. */
  readonly claims?: JsonObject
  /** In place of the claim `roles`. */
  readonly roles?: readonly string[]
  /** The most that this person's clients may have, with what these imply; whatever the person allows. Left out: no such bound. */
  readonly scopes?: readonly string[]
  /** Nobody like that gets in. The person reads this reason. */
  readonly refuse?: string
}

/**
 * Decides about a person by what is known of them: after the provider's schema, at sign-in and each time that the claims are read afterwards, about
 * once a minute for who makes calls. So a change of it, or of the claims, holds for everybody at once, and it must be quick. One that
 * throws is this server's own trouble.
 */
export type Admit<Claims> = (
  claims: Claims & JsonObject,
) => AdmitDecision | undefined | Promise<AdmitDecision | undefined>

export interface AdmissionOptions<Claims> {
  /** Adds claims, sets roles, bounds scopes, or refuses: one function, or several of which each sees what those before it added. */
  readonly admit?: Admit<Claims> | readonly Admit<Claims>[]
}

/** What all of them say together. The first refusal ends it; scopes are those that all leave. */
export const admitWith =
  <Claims>(rules: Admit<Claims> | readonly Admit<Claims>[]): Admit<Claims> =>
  async (claims) => {
    let known = claims
    let scopes: readonly string[] | undefined
    const added: Record<string, Json | undefined> = {}
    for (const rule of typeof rules === 'function' ? [rules] : rules) {
      const said = await rule(known)
      if (!said) continue
      if (said.refuse !== undefined) return said
      Object.assign(added, said.claims, said.roles === undefined ? {} : { roles: said.roles })
      known = { ...claims, ...added }
      const bound = said.scopes
      if (bound) scopes = scopes?.filter((scope) => bound.includes(scope)) ?? bound
    }
    return { claims: added, ...(scopes === undefined ? {} : { scopes }) }
  }

const defaultReason = 'Your account is not one of those that may sign in here.'

/**
 * Only people whose verified e-mail address is in one of these domains (not below them).
 * @param reason what others read
 */
export const allowEmailDomains = (domains: readonly string[], reason = defaultReason): Admit<unknown> => {
  const allowed = new Set(domains.map((domain) => domain.toLowerCase()))
  if (![...allowed].every((domain) => /^[a-z0-9-]+(\.[a-z0-9-]+)+$/.test(domain))) {
    throw new TypeError('allowEmailDomains: domains, such as example.com')
  }
  return ({ email, email_verified: verified }) => {
    if (typeof email !== 'string' || verified !== true) return { refuse: reason }
    const at = email.lastIndexOf('@')
    // What stands before the last @ may be quoted; nobody's real address has a second one, and readers disagree about it.
    const plain = at > 0 && email.indexOf('@') === at
    return plain && allowed.has(email.slice(at + 1).toLowerCase()) ? undefined : { refuse: reason }
  }
}

/**
 * Only people with at least one of these values in a claim that is a list (or a text).
 * @param options.claim default: `groups` @param options.reason what others read
 */
export const allowGroups = (
  groups: readonly string[],
  { claim = 'groups', reason = defaultReason }: { readonly claim?: string; readonly reason?: string } = {},
): Admit<unknown> => {
  if (groups.length === 0) throw new TypeError('allowGroups: at least one group')
  return (claims) => {
    const has: unknown = Object.hasOwn(claims, claim) ? claims[claim] : undefined
    const list: readonly unknown[] = Array.isArray(has) ? has : [has]
    return groups.some((group) => list.includes(group)) ? undefined : { refuse: reason }
  }
}

/**
 * Only people of these organisations.
 * @param options.claim what names the organisation: `tid` (Entra, the default), `hd` (Google), `org_id` (Auth0, WorkOS) or another
 */
export const allowTenants = (
  tenants: readonly string[],
  { claim = 'tid', reason = defaultReason }: { readonly claim?: string; readonly reason?: string } = {},
): Admit<unknown> => allowGroups(tenants, { claim, reason })
