import * as z from 'zod'

const words = z.array(z.string().min(1))
const scalar = z.union([z.string(), z.number(), z.boolean()])
const expected = z.record(z.string(), z.union([scalar, z.array(scalar)]))
const callable = z.custom<(...args: never) => unknown>((value) => typeof value === 'function', 'a function')

const rule = z.strictObject({
  scopes: words.optional(),
  kind: z.enum(['user', 'client']).optional(),
  actor: z.boolean().optional(),
  clients: words.optional(),
  groups: words.optional(),
  claims: expected.optional(),
  arguments: expected.optional(),
  allow: callable.optional(),
})

const requirements = z.record(
  z.string(),
  z.union([words, rule, callable], 'a list of scopes, a rule with known members, or a function'),
)

/**
 * The members of `AccessPolicy`, as configuration is checked.
 * @internal
 */
export const accessPolicySchema = {
  tools: requirements.optional(),
  resources: requirements.optional(),
  prompts: requirements.optional(),
  unlisted: z.enum(['allow', 'deny']).optional(),
  lists: z.enum(['reachable', 'usable']).optional(),
  implies: z.record(z.string(), words).optional(),
}
