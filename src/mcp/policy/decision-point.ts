import type { AccessToken } from '../../identity/access-token.ts'
import type { Json, JsonObject } from '../../identity/json.ts'
import type { Kind } from './rule.ts'

/** What an external decision point is told about a caller, besides who it is. */
export const callerFacts = (token: AccessToken): JsonObject => ({
  issuer: token.issuer,
  subject: token.subject,
  client_id: token.clientId,
  scopes: token.scopes,
  ...(token.actor && { actor: token.actor as unknown as Json }),
  claims: ((token.kind === 'user' ? token.upstream?.claims : undefined) ?? token.claims) as JsonObject,
})

export const resourceTypes: Readonly<Record<Kind, 'tool' | 'resource' | 'prompt'>> = {
  tools: 'tool',
  resources: 'resource',
  prompts: 'prompt',
}
