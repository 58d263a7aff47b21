import { createHash, generateKeyPairSync, randomUUID, sign } from 'node:crypto'

/** A client's key, and proofs for POST requests, made at once: what a client spends is not measured. */
export function dpopKey() {
  const { privateKey: key, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const header = encode({ alg: 'ES256', typ: 'dpop+jwt', jwk: publicKey.export({ format: 'jwk' }) })
  return {
    proof(url: string, token?: string): string {
      const ath = token === undefined ? {} : { ath: createHash('sha256').update(token).digest('base64url') }
      const iat = Math.floor(Date.now() / 1000)
      const input = `${header}.${encode({ jti: randomUUID(), htm: 'POST', htu: url, iat, ...ath })}`
      return `${input}.${sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
    },
  }
}

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
