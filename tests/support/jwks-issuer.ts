import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'

/** An issuer of JWT access tokens on loopback: metadata, keys, and the means to go wrong in every way. */
export interface JwksIssuer {
  readonly issuer: string
  /** How often the metadata and the keys were asked for. */
  readonly requests: { metadata: number; keys: number }
  /** `down` answers 500, `hang` never answers, `foreign` is another issuer's metadata, `garbage` is not JSON. */
  mode: 'ok' | 'down' | 'hang' | 'foreign' | 'garbage'
  /** What its metadata says that its tokens carry; undefined: nothing. */
  upstreamClaims: readonly string[] | undefined
  /** Milliseconds before the keys are answered. */
  delay: number
  /** Signs a token with what an issuer says about a person who uses `client-1`; `claims` and `header` change that, undefined takes away. */
  sign(claims?: Record<string, unknown>, header?: SignOptions): Promise<string>
  /** Adds a key with which later tokens are signed; the ones before are published until `retire`. */
  rotate(algorithm?: string): Promise<void>
  /** Publishes only the newest key. */
  retire(): void
  /** A key that is not published. */
  readonly foreignKey: CryptoKey
  close(): Promise<void>
}

export interface SignOptions {
  /** null for none */
  readonly typ?: string | null | undefined
  /** null for none */
  readonly kid?: string | null
  readonly key?: CryptoKey | Uint8Array
  readonly alg?: string
}

interface Key {
  readonly privateKey: CryptoKey
  readonly jwk: JWK & { kid: string; alg: string }
}

export const startJwksIssuer = async (resource: string): Promise<JwksIssuer> => {
  let keys: Key[] = []
  const requests = { metadata: 0, keys: 0 }
  const hanging = new Set<() => void>()

  const server = createServer(async (request, response) => {
    const metadata = request.url === '/.well-known/oauth-authorization-server'
    if (!metadata && request.url !== '/jwks') {
      response.writeHead(404).end()
      return
    }
    requests[metadata ? 'metadata' : 'keys'] += 1
    if (issuer.mode === 'hang') {
      hanging.add(() => response.destroy())
      return
    }
    if (issuer.mode === 'down') {
      response.writeHead(500).end()
      return
    }
    await new Promise((resolve) => setTimeout(resolve, issuer.delay))
    response.setHeader('Content-Type', 'application/json')
    const named = issuer.mode === 'foreign' ? 'https://mallory.example' : issuer.issuer
    const body = metadata
      ? { issuer: named, jwks_uri: `${issuer.issuer}/jwks`, upstream_claims_supported: issuer.upstreamClaims }
      : { keys: keys.map(({ jwk }) => jwk) }
    response.end(issuer.mode === 'garbage' ? '<html>' : JSON.stringify(body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  const issuer: JwksIssuer = {
    issuer: url,
    requests,
    mode: 'ok',
    delay: 0,
    upstreamClaims: undefined,
    foreignKey: (await generateKeyPair('ES256')).privateKey,

    async rotate(algorithm = 'ES256') {
      const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true })
      const jwk = {
        ...(await exportJWK(publicKey)),
        kid: `key-${keys.length + 1}-${Date.now()}`,
        alg: algorithm,
        use: 'sig',
      }
      keys = [...keys, { privateKey, jwk }]
    },

    retire() {
      keys = keys.slice(-1)
    },

    async sign(claims = {}, { typ = 'at+jwt', ...header } = {}) {
      const current = keys.at(-1)
      if (!current) throw new Error('no key')
      const kid = header.kid === undefined ? current.jwk.kid : header.kid
      const now = Math.floor(Date.now() / 1000)
      const payload = {
        ...{ iss: url, sub: 'alice', aud: resource, client_id: 'client-1', scope: 'notes:read' },
        ...{ iat: now, exp: now + 600, jti: crypto.randomUUID(), ...claims },
      }
      return new SignJWT(payload)
        .setProtectedHeader({
          alg: header.alg ?? current.jwk.alg,
          ...(typ === null ? {} : { typ }),
          ...(kid === null ? {} : { kid }),
        })
        .sign(header.key ?? current.privateKey)
    },

    async close() {
      for (const end of hanging) end()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  await issuer.rotate()
  return issuer
}
