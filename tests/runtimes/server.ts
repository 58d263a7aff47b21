import { requireUser } from '../../src/identity/context.ts'
import { jwks } from '../../src/resource-server/jwks-verifier.ts'
import { resourceServer } from '../../src/verify-only.ts'

/** A server that only verifies, of what every host has. */
export const serve = (resource: string, issuer: string): ((request: Request) => Promise<Response>) => {
  const auth = resourceServer({
    resource,
    issuers: [jwks(issuer)],
    scopes: { 'notes:read': 'Read', 'notes:write': 'Write' },
    defaultScopes: ['notes:read'],
    tools: { notes_add: ['notes:write'] },
    secret: 'the same secret on every host that answers',
  })
  const gated = auth.gate(resource, async (request, { parsedBody }) => {
    await new Promise((resolve) => setTimeout(resolve, 1))
    const { subject, issuer, scopes } = requireUser(auth)
    const session = request.headers.get('mcp-session-id')
    const headers = { 'Mcp-Session-Id': session ?? 'the-servers-own' }
    return Response.json(
      { subject, issuer, scopes, session, method: (parsedBody as { method?: string })?.method },
      { headers },
    )
  })
  return async (request) => (await auth.respond(request)) ?? gated(request)
}
