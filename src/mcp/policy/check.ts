import { ConfigurationError } from '../../oauth/configuration-error.ts'
import { type AccessPolicy, kinds, type PolicyRule, ruleOf } from './rule.ts'

/**
 * A scope that nobody can be granted would send clients round in circles.
 * @param known the resource's scopes; undefined where only an issuer elsewhere knows them
 * @throws ConfigurationError
 */
export const checkPolicy = (policy: AccessPolicy, known: readonly string[] | undefined, path: string): void => {
  const check = (scopes: readonly string[], where: string): void => {
    const unknown = scopes.find((scope) => known?.includes(scope) === false)
    if (unknown === undefined) return
    throw new ConfigurationError(where, `scopes of this resource (${known?.join(', ')}), not "${unknown}"`)
  }
  for (const kind of kinds) {
    for (const [name, requirement] of Object.entries(policy[kind] ?? {})) {
      const where = `${path}.${kind}[${JSON.stringify(name)}]`
      const rule = ruleOf(requirement)
      // A member that nobody reads would be a condition that everybody meets.
      const stranger = Object.keys(rule).find((member) => !members.has(member))
      if (stranger !== undefined) throw new ConfigurationError(where, `no member "${stranger}"`)
      check(rule.scopes ?? [], where)
    }
  }
  for (const [scope, implied] of Object.entries(policy.implies ?? {})) {
    check([scope, ...implied], `${path}.implies[${JSON.stringify(scope)}]`)
  }
}

const members: ReadonlySet<string> = new Set<keyof PolicyRule>([
  ...(['scopes', 'kind', 'actor', 'clients', 'groups', 'claims', 'arguments', 'allow'] as const),
])
