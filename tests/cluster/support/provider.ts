import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'

export interface ProofProvider {
  readonly issuer: string
  /** Renewals so far; and how many of a token that was renewed before already. */
  readonly renewals: { done: number; repeated: number }
  /** Of its access tokens, in seconds: how often nodes must renew them. */
  lifetime: number
  /** Milliseconds before each answer of the token endpoint. */
  slowness: number
  stop(): Promise<void>
}

/**
 * An OpenID Provider that signs in at once whom the header `x-person` names. Refresh tokens rotate; one that was renewed gets the same successor
 * again, as with providers that know lost answers.
 */
export async function startProvider(): Promise<ProofProvider> {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const key = { ...(await exportJWK(publicKey)), kid: 'provider', alg: 'ES256', use: 'sig' }
  const codes = new Map<string, { person: string; nonce: string }>()
  const successors = new Map<string, string>()
  let count = 0

  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', issuer)
    const json = (body: unknown, status = 200) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    }
    if (url.pathname === '/authorize') {
      const code = `code-${++count}`
      codes.set(code, {
        person: String(request.headers['x-person'] ?? 'somebody'),
        nonce: url.searchParams.get('nonce') ?? '',
      })
      const back = new URL(url.searchParams.get('redirect_uri') ?? '')
      back.search = String(new URLSearchParams({ code, state: url.searchParams.get('state') ?? '', iss: issuer }))
      return void response.writeHead(302, { location: back.href }).end()
    }
    if (url.pathname === '/token') {
      const form = new URLSearchParams(await bodyOf(request))
      await new Promise((resolve) => setTimeout(resolve, self.slowness))
      const code = codes.get(form.get('code') ?? '')
      const presented = form.get('refresh_token') ?? ''
      const person = code?.person ?? presented.split('.')[1]
      if (person === undefined) return json({ error: 'invalid_grant' }, 400)
      let next = `refresh.${person}.${++count}`
      if (!code) {
        self.renewals.done++
        const known = successors.get(presented)
        if (known !== undefined) self.renewals.repeated++
        next = known ?? next
        successors.set(presented, next)
      }
      const claims = { email: `${person}@example.com`, ...(code && { nonce: code.nonce }) }
      const idToken = await new SignJWT(claims)
        .setProtectedHeader({ alg: 'ES256', kid: 'provider' })
        .setIssuer(issuer)
        .setSubject(person)
        .setAudience('countersign')
        .setIssuedAt()
        .setExpirationTime('1h')
        .sign(privateKey)
      return json({
        access_token: `access.${person}.${++count}`,
        token_type: 'Bearer',
        expires_in: self.lifetime,
        refresh_token: next,
        id_token: idToken,
      })
    }
    if (url.pathname === '/keys') return json({ keys: [key] })
    if (url.pathname === '/revoke') return json({})
    return json({
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      revocation_endpoint: `${issuer}/revoke`,
      jwks_uri: `${issuer}/keys`,
      response_types_supported: ['code'],
      id_token_signing_alg_values_supported: ['ES256'],
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const self: ProofProvider = {
    issuer,
    renewals: { done: 0, repeated: 0 },
    lifetime: 3_600,
    slowness: 0,
    async stop() {
      server.close()
      server.closeAllConnections()
    },
  }
  return self
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}
