import * as z from 'zod'
import { accessPolicySchema } from './mcp/policy/schema.ts'
import { refusedBySchema } from './oauth/configuration-error.ts'
import { isHost, isOrigin } from './resource-server/hosts.ts'

const words = z.array(z.string().min(1))

/**
 * The members of a protected resource's options, as configuration is checked.
 * @internal
 */
export const protectedResourceSchema = {
  name: z.string().optional(),
  scopes: z.record(z.string(), z.string()).optional(),
  defaultScopes: words.optional(),
  lifetimes: z.strictObject({ accessToken: z.number().int().positive().optional() }).optional(),
  dpopBoundAccessTokensRequired: z.boolean().optional(),
  ...accessPolicySchema,
  hosts: z.array(z.string().refine(isHost, 'a value of Host: a name, or a name and a port')).optional(),
  origins: z.array(z.string().refine(isOrigin, 'an origin like "https://app.example.com"')).optional(),
}

/**
 * Types don't reach what was written in JavaScript or YAML.
 * @throws ConfigurationError naming the first wrong value, and what was expected there
 * @internal
 */
export const checkBySchema = (schema: z.ZodType, data: object): void => {
  const { error } = schema.safeParse(data)
  const [issue] = error?.issues ?? []
  if (issue) throw refusedBySchema(issue)
}
