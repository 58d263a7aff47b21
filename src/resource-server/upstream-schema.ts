import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { AccessTokenFacts } from '../identity/access-token.ts'
import type { JsonObject } from '../identity/json.ts'
import { TokenInvalid } from '../identity/verifier.ts'

/** Claims that a schema asks for and that are not among those which an issuer signs: no token could satisfy it. */
export const unsignedClaims = async (schema: StandardSchemaV1, signed: readonly string[]): Promise<string[]> => {
  const { issues = [] } = await schema['~standard'].validate({})
  const asked = issues.map(({ path: [first] = [] }) => (typeof first === 'object' ? first.key : first))
  return [...new Set(asked)].filter((claim): claim is string => typeof claim === 'string' && !signed.includes(claim))
}

/**
 * Holds the upstream claims of a token against a schema. Nothing is dropped: what the schema makes of them is laid over them.
 * @throws TokenInvalid the token does not say what the schema promises to handlers
 */
export const applyUpstreamSchema = async (
  facts: AccessTokenFacts,
  schema: StandardSchemaV1 | undefined,
): Promise<AccessTokenFacts> => {
  if (!schema || facts.kind === 'client') return facts
  if (!facts.upstream) throw new TokenInvalid('schema')
  const result = await schema['~standard'].validate(facts.upstream.claims)
  if (result.issues) throw new TokenInvalid('schema')
  const claims = { ...facts.upstream.claims, ...(result.value as JsonObject) }
  return { ...facts, upstream: { ...facts.upstream, claims } }
}
