import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import { countersign, type Options, requireUser, type UpstreamClaims } from 'countersign'
import { protect, routes } from 'countersign/hono'
import { oauth2 } from 'countersign/upstream/oauth2'
import { Hono } from 'hono'

/** An OAuth proxy in front of a provider that has no OpenID: endpoints, one app there, and where it says who somebody is. */
export const app = (
  url: string,
  upstream: { site: string; clientId: string; clientSecret: string },
  options: Partial<Options<UpstreamClaims>> = {},
) => {
  const { site, clientId, clientSecret } = upstream
  const auth = countersign({
    url,
    upstream: oauth2({
      id: 'provider',
      name: 'The provider',
      issuer: site,
      authorizationEndpoint: `${site}/auth`,
      tokenEndpoint: `${site}/token`,
      user: { url: `${site}/me`, subject: 'sub' },
      clientId,
      clientSecret,
      scopes: ['openid', 'profile', 'email'],
    }),
    resources: { '/mcp': { scopes: { 'notes:read': 'Read your notes' } } },
    ...options,
  })

  const mcp = createMcpHandler(() => {
    const server = new McpServer({ name: 'notes', version: '1.0.0' })
    server.registerTool('whoami', { description: 'Who is calling' }, () => {
      const { clientId, upstream } = requireUser(auth)
      return {
        content: [],
        structuredContent: { clientId, subject: upstream?.subject, claims: { ...upstream?.claims } },
      }
    })
    return server
  })
  const app = new Hono()
  app.use(routes(auth))
  app.all('/mcp', protect(auth, '/mcp', mcp))
  return { app, auth }
}
