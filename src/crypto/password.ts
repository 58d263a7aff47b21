import { randomBytes, scrypt } from 'node:crypto'
import { base64url, equalBytes, fromBase64url } from './bytes.ts'

// OWASP's first choice for scrypt: 128 MiB, p 1.
const cost = { N: 2 ** 17, r: 8, p: 1, maxmem: 160 * 1024 * 1024 }
const keyLength = 32

/** `scrypt$N$r$p$salt$hash`, base64url. */
export const hashPassword = async (password: string): Promise<string> => {
  const salt = randomBytes(16)
  const hash = await derive(password, salt, cost)
  return ['scrypt', cost.N, cost.r, cost.p, base64url(salt), base64url(hash)].join('$')
}

/** Constant-time for a given cost. False for a stored hash that can't be read. */
export const verifyPassword = async (password: string, stored: string): Promise<boolean> => {
  const [scheme, N, r, p, salt, hash] = stored.split('$')
  const saltBytes = fromBase64url(salt ?? '')
  const expected = fromBase64url(hash ?? '')
  const stretched = { N: Number(N), r: Number(r), p: Number(p), maxmem: cost.maxmem }
  if (scheme !== 'scrypt' || !saltBytes?.length || expected?.length !== keyLength || !isCost(stretched)) return false
  const presented = await derive(password, saltBytes, stretched)
  return equalBytes(presented, expected)
}

/** What to check against where there is no such account, so that its absence takes as long as a wrong password. */
export const decoyHash = [
  'scrypt',
  cost.N,
  cost.r,
  cost.p,
  base64url(new Uint8Array(16)),
  base64url(new Uint8Array(32)),
].join('$')

/** What a stored hash may ask of us: no more memory than our own. */
const isCost = ({ N, r, p, maxmem }: typeof cost): boolean =>
  [N, r, p].every((value) => Number.isInteger(value) && value >= 1) &&
  N >= 2 &&
  (N & (N - 1)) === 0 &&
  128 * N * r < maxmem &&
  p <= 16

const derive = (password: string, salt: Uint8Array, options: typeof cost): Promise<Uint8Array> =>
  new Promise((resolve, reject) => {
    scrypt(password.normalize('NFKC'), salt, keyLength, options, (error, key) => (error ? reject(error) : resolve(key)))
  })
