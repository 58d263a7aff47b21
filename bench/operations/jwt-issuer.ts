import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { RESOURCE, SCOPE } from './gate-call.ts'

export const JWT_ISSUER = 'https://issuer.example.com'

/** Issues tokens as Countersign's are, and answers for them. */
export async function jwtIssuer() {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const keySet = { keys: [{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }] }
  return {
    publicKey,
    keySet,
    mint: (): Promise<string> =>
      new SignJWT({
        client_id: '2f1c7a4e-8f0b-4a55-9d35-1b9a8a2f7d10',
        scope: SCOPE,
        auth_time: Math.floor(Date.now() / 1000),
        grant_id: 'a6b2f1d0c3e84957a1b2c3d4e5f60718',
        upstream_claims: { iss: JWT_ISSUER, sub: 'a person', name: 'Demo User', email: 'demo@example.com' },
      })
        .setProtectedHeader({ alg: 'ES256', kid: 'one', typ: 'at+jwt' })
        .setIssuer(JWT_ISSUER)
        .setSubject(crypto.randomUUID())
        .setAudience(RESOURCE)
        .setIssuedAt()
        .setExpirationTime('2h')
        .setJti(crypto.randomUUID())
        .sign(privateKey),
    /** The key set, and to whoever asks about a token: what it says. */
    async fetch(url: string, { body }: { readonly body?: string } = {}): Promise<Response> {
      if (url.endsWith('/keys')) return Response.json(keySet)
      const [, payload = ''] = (new URLSearchParams(body).get('token') ?? '').split('.')
      return Response.json({ ...JSON.parse(Buffer.from(payload, 'base64url').toString()), active: true })
    },
  }
}

export type JwtIssuer = Awaited<ReturnType<typeof jwtIssuer>>
