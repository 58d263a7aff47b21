import { OAuthError, OAuthErrorCode, requireBearerAuth } from '@modelcontextprotocol/server'
import { createLocalJWKSet, type JWTPayload, jwtVerify } from 'jose'
import { handle, RESOURCE, type Respond, SCOPE } from './gate-call.ts'
import { JWT_ISSUER, type JwtIssuer } from './jwt-issuer.ts'

export const CHECKS = {
  issuer: JWT_ISSUER,
  audience: RESOURCE,
  typ: 'at+jwt',
  requiredClaims: ['exp', 'sub', 'client_id'],
}

/** The SDK's own gate, with a verifier as its users write it. */
const bearerAuth = (claimsOf: (token: string) => Promise<JWTPayload>): Respond => {
  const resource = new URL(RESOURCE)
  const gate = requireBearerAuth({
    requiredScopes: [SCOPE],
    resourceMetadataUrl: `${resource.origin}/.well-known/oauth-protected-resource/mcp`,
    expectedResource: resource,
    verifier: {
      async verifyAccessToken(token) {
        const { client_id: clientId, scope, exp = 0, sub } = await claimsOf(token)
        const scopes = String(scope).split(' ')
        return { token, clientId: String(clientId), scopes, expiresAt: exp, resource, extra: { subject: sub } }
      },
    },
  })
  return async (request) => {
    const authInfo = await gate(request)
    return authInfo instanceof Response ? authInfo : handle(request)
  }
}

/** Every token is verified, none remembered. */
export function withJose({ keySet }: JwtIssuer): Respond {
  const keys = createLocalJWKSet(keySet)
  return bearerAuth(async (token) => (await jwtVerify(token, keys, CHECKS).catch(refuse)).payload)
}

/** What the issuer answered is used until the token expires. */
export function withCachedIntrospection({ fetch }: JwtIssuer): Respond {
  const cache = new Map<string, JWTPayload>()
  return bearerAuth(async (token) => {
    const known = cache.get(token)
    if (known && (known.exp ?? 0) * 1000 > Date.now()) return known
    const answer = await fetch('/introspect', { body: new URLSearchParams({ token }).toString() })
    const claims = (await answer.json()) as JWTPayload
    if (claims.active !== true || claims.iss !== JWT_ISSUER || claims.aud !== RESOURCE) return refuse()
    cache.set(token, claims)
    return claims
  })
}

const refuse = (): never => {
  throw new OAuthError(OAuthErrorCode.InvalidToken, 'the token is not valid')
}
