/** The endpoints that pages of other origins may use: browser-based clients do. Cookies play no part in any of them. */
export const corsMethods = {
  metadata: ['GET', 'HEAD'],
  jwks: ['GET', 'HEAD'],
  // Without a client only POST; the others manage one.
  register: ['POST', 'GET', 'PUT', 'DELETE'],
  token: ['POST'],
  pushed: ['POST'],
  revoke: ['POST'],
  introspect: ['POST'],
  logout: ['POST'],
} as const

export type CorsEndpoint = keyof typeof corsMethods

/** Of every answer, errors too: a page must be able to read them. */
export const corsHeaders: Readonly<Record<string, string>> = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Expose-Headers': 'WWW-Authenticate, Retry-After, DPoP-Nonce',
}

const allowedHeaders = 'Authorization, Content-Type, DPoP, MCP-Protocol-Version'

/** The answer to a preflight. @see https://fetch.spec.whatwg.org/#http-cors-protocol */
export const preflight = (endpoint: CorsEndpoint): Response =>
  new Response(null, {
    status: 204,
    headers: {
      ...corsHeaders,
      'Access-Control-Allow-Methods': corsMethods[endpoint].join(', '),
      'Access-Control-Allow-Headers': allowedHeaders,
      'Access-Control-Max-Age': '7200',
    },
  })
