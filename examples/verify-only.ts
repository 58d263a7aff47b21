import { jwks, requireAccessToken, resourceServer } from 'countersign'

/** A server that only verifies: its tokens come from an issuer elsewhere. Any host that speaks fetch will do. */
export const weatherServer = (resource: string, issuer: string) => {
  const auth = resourceServer({ resource, issuers: [jwks(issuer)], scopes: { 'weather:read': 'See the weather' } })

  const handler = auth.gate(resource, () => {
    const { issuer, subject, kind } = requireAccessToken(auth)
    return Response.json({ greeting: `Hello, ${kind} ${subject} of ${issuer}` })
  })
  return async (request: Request) => (await auth.respond(request)) ?? handler(request)
}
