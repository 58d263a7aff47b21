import type { AccessTokenFacts, UpstreamFacts } from '../identity/access-token.ts'
import { readActor } from '../identity/actor.ts'
import type { JsonObject } from '../identity/json.ts'
import { TokenInvalid } from '../identity/verifier.ts'

/**
 * Reads the payload of a verified access token.
 * @param clientIdClaim `client_id`, or what another issuer calls it; never `sub`
 * @param isClient for an issuer whose clients are not the subjects of their own tokens
 * @throws TokenInvalid for a payload that says less than a handler is promised, or something that can't be read
 * @see RFC 9068 §2.2
 */
export const readJwtFacts = (
  token: string,
  payload: JsonObject,
  resource: string,
  clientIdClaim: string,
  isClient: ((claims: JsonObject) => boolean) | undefined,
): AccessTokenFacts => {
  const { iss, sub, exp, act } = payload
  const clientId = payload[clientIdClaim]
  if (!isText(iss) || !isText(sub) || !isText(clientId) || typeof exp !== 'number') throw new TokenInvalid('claims')
  // Shown without its actor, a token would seem to be the user's own.
  const actor = act === undefined ? undefined : readActor(act, iss)
  if (act !== undefined && actor === undefined) throw new TokenInvalid('claims')
  const kind = sub === clientId || isClient?.(payload) ? 'client' : 'user'
  return {
    token,
    kind,
    issuer: iss,
    subject: sub,
    clientId,
    actor,
    scopes: readScopes(payload),
    resource,
    expiresAt: exp,
    claims: payload,
    upstream: readUpstream(payload),
  }
}

/** `scope` as the RFC has it, or `scp` as several issuers do. */
const readScopes = ({ scope, scp }: JsonObject): readonly string[] => {
  const value = scope ?? scp
  if (value === undefined) return []
  if (typeof value === 'string') return [...new Set(value.split(' ').filter((each) => each !== ''))]
  if (Array.isArray(value) && value.every((each) => typeof each === 'string')) return [...new Set(value as string[])]
  throw new TokenInvalid('claims')
}

/** Who the person is at the issuer's own provider, or the workload at its platform, where the issuer signed that into the token. */
const readUpstream = ({
  upstream_claims: claims,
  upstream_provider: provider,
}: JsonObject): UpstreamFacts | undefined => {
  if (typeof claims !== 'object' || claims === null || Array.isArray(claims)) return undefined
  const upstream = claims as JsonObject
  const { iss, sub } = upstream
  if (!isText(iss) || !isText(sub)) return undefined
  return { provider: isText(provider) ? provider : iss, issuer: iss, subject: sub, claims: upstream }
}

const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''
