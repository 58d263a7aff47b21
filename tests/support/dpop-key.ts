import { createHash, randomUUID } from 'node:crypto'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose'

/** A client's key, and the proofs that it makes: written for the tests alone, so that a mistake is not made twice. */
export async function dpopKey(now: () => number = Date.now) {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const jwk = await exportJWK(publicKey)
  return {
    jkt: await calculateJwkThumbprint(jwk),
    jwk,
    privateKey,
    /** @param claims over those of a right proof */
    proof(method: string, url: string, token?: string, claims: JWTPayload = {}): Promise<string> {
      const ath = token === undefined ? {} : { ath: createHash('sha256').update(token).digest('base64url') }
      const iat = Math.floor(now() / 1000)
      return new SignJWT({ jti: randomUUID(), htm: method, htu: url, iat, ...ath, ...claims })
        .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk })
        .sign(privateKey)
    },
  }
}

export type DpopKey = Awaited<ReturnType<typeof dpopKey>>
