import { type AccessPolicy, introspection, jwks, requireAccessToken, resourceServer } from 'countersign'
import { handle, RESOURCE, type Respond, SCOPE } from './gate-call.ts'
import { JWT_ISSUER, type JwtIssuer } from './jwt-issuer.ts'

/** Countersign's gate, for the tokens of an issuer elsewhere; its handler reads who called. */
const gate = (verifier: ReturnType<typeof jwks>, policy: AccessPolicy, handler = handle): Respond => {
  const auth = resourceServer({
    resource: RESOURCE,
    issuers: [verifier],
    scopes: { [SCOPE]: 'Read your notes' },
    audit: () => {},
    ...policy,
  })
  return auth.gate('/mcp', (request, context) => {
    requireAccessToken(auth)
    return handler(request, context)
  })
}

export const byKeys = ({ fetch }: JwtIssuer, policy: AccessPolicy = {}, handler = handle): Respond =>
  gate(jwks(JWT_ISSUER, { jwksUri: `${JWT_ISSUER}/keys`, fetch }), policy, handler)

export const byIntrospection = ({ fetch }: JwtIssuer): Respond => {
  const client = { clientId: 'bench', clientSecret: 'a client secret of more than 32 characters' }
  return gate(
    introspection(JWT_ISSUER, { ...client, endpoint: `${JWT_ISSUER}/introspect`, rememberedFor: 300, fetch }),
    {},
  )
}
