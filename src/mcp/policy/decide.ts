import type { AccessToken } from '../../identity/access-token.ts'
import type { JsonObject } from '../../identity/json.ts'
import { evaluate, scopeHierarchy, type Verdict } from './evaluate.ts'
import { sampleOf } from './resource-uri.ts'
import { type AccessPolicy, type Kind, kinds } from './rule.ts'
import { nameTable, type RuleTable, resourceTable } from './rule-table.ts'

/** A thing that a call names. */
export interface Target {
  readonly kind: Kind
  /** A tool's or prompt's name, a resource's URI. */
  readonly name: string
  /** The name is a URI template. */
  readonly template?: boolean
  readonly arguments?: JsonObject | undefined
}

/** One decision for calls and for lists. */
export interface Decider {
  /** Whether unknown methods are refused, too. */
  readonly deniesUnlisted: boolean
  /** Whether anything of the kind could be refused. */
  governs(kind: Kind): boolean
  /** @throws what a rule's function throws */
  decide(token: AccessToken, method: string, target: Target, listing: boolean): Verdict | Promise<Verdict>
}

/** Undefined where nothing is required. */
export const createDecider = (policy: AccessPolicy): Decider | undefined => {
  const { unlisted = 'allow', lists = 'reachable', implies = {} } = policy
  const governed = kinds.filter((kind) => unlisted === 'deny' || Object.keys(policy[kind] ?? {}).length > 0)
  if (governed.length === 0) return undefined
  const tables: Readonly<Record<Kind, RuleTable>> = {
    tools: nameTable(policy.tools ?? {}),
    prompts: nameTable(policy.prompts ?? {}),
    resources: resourceTable(policy.resources ?? {}),
  }
  const held = scopeHierarchy(implies)
  return {
    deniesUnlisted: unlisted === 'deny',
    governs: (kind) => governed.includes(kind),
    decide(token, method, target, listing) {
      if (!governed.includes(target.kind)) return { outcome: 'allow' }
      const name = target.template ? sampleOf(target.name) : target.name
      const { rules, listed } = tables[target.kind](name)
      if (!listed && unlisted === 'deny') return { outcome: 'forbid', reason: 'policy_unlisted' }
      const { kind, arguments: args } = target
      const call = args ? { method, kind, name: target.name, arguments: args } : { method, kind, name: target.name }
      const question = !listing ? 'call' : lists === 'usable' ? 'usable' : 'reachable'
      return evaluate(rules, token, call, held, question)
    },
  }
}
