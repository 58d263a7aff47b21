import { authorizationServerMetadata } from '../oauth/server-metadata.ts'
import type { ServerContext } from './context.ts'
import { answerMachine } from './endpoint.ts'

const cached = { 'Cache-Control': 'public, max-age=300' }

/** The authorization server's metadata document. @see RFC 8414 §3 */
export const metadataEndpoint = (server: ServerContext, request: Request): Promise<Response> =>
  answerMachine(server, request, 'metadata', () => ({ body: metadata(server), headers: cached }))

/** The public keys of its access tokens. @see RFC 7517 §5 */
export const jwksEndpoint = (server: ServerContext, request: Request): Promise<Response> =>
  answerMachine(server, request, 'jwks', () => ({
    body: server.keys.jwks(),
    headers: { 'Cache-Control': `public, max-age=${server.keys.jwksMaxAge}` },
  }))

const metadata = ({
  issuer,
  endpoints,
  resources,
  clientMetadataDocuments,
  tokenClaims,
  assertions,
  requirePushedRequests,
  locales,
  keys,
}: ServerContext) =>
  authorizationServerMetadata({
    issuer,
    signingAlgorithms: [keys.signingKey().algorithm],
    resources,
    endpoints,
    locales,
    upstreamClaims: ['iss', 'sub', ...tokenClaims],
    ...(assertions ? { assertions } : {}),
    ...(requirePushedRequests ? { requirePushedRequests } : {}),
    clientIdMetadataDocuments: clientMetadataDocuments !== undefined,
  })
