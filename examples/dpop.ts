import { countersign, requireUser, resourceServer } from 'countersign'
import { sqlite } from 'countersign/store/sqlite'
import { dpopKey, testIssuer } from 'countersign/testing'

/** Tokens for the payroll are good only with a key that their client has; the notes take bearer tokens, too. */
export const authWithBoundTokens = (settings: { url: string; secret: string; database: string }) =>
  countersign({
    url: settings.url,
    secret: settings.secret,
    store: sqlite(settings.database),
    dpopNonces: true,
    resources: {
      '/notes': { scopes: { 'notes:read': 'Read your notes' } },
      '/payroll': { scopes: { 'payroll:read': 'See what you earn' }, dpopBoundAccessTokensRequired: true },
    },
    clients: [{ id: 'payroll-app', redirectUris: ['https://app.example.com/callback'], dpopBoundAccessTokens: true }],
  })

/** In a test: a bound token, and a request that proves its key. */
export const callWithProof = async (): Promise<Response> => {
  const issuer = testIssuer()
  const key = await dpopKey()
  const resource = 'https://payroll.example.com/mcp'
  const auth = resourceServer({ resource, issuers: [issuer], dpopBoundAccessTokensRequired: true })
  const handler = auth.gate(resource, () => new Response(`Hello, ${requireUser(auth).subject}`))

  const token = issuer.accessToken({ subject: 'alice', jkt: key.jkt })
  const headers = await key.headers(token, { method: 'POST', url: resource })
  return handler(new Request(resource, { method: 'POST', headers }))
}
