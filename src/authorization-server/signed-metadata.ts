import { signJwt } from '../crypto/jws.ts'
import type { Logger } from '../events/logger.ts'
import type { ServerContext } from './context.ts'

type Claims = Readonly<Record<string, unknown>>

/**
 * Signs the metadata of resources. A signature is used again while its key signs, since anybody may ask for it. Without an end of its own, and for no
 * audience: it is no token.
 * @see RFC 9728 §2.2
 */
export const createMetadataSigner = (
  open: () => Promise<ServerContext>,
  logger: Logger,
): ((metadata: Claims) => Promise<string>) => {
  const made = new Map<unknown, { readonly key: string; readonly until: number; readonly signed: Promise<string> }>()
  const sign = async (metadata: Claims): Promise<string> => {
    const { keys, issuer, clock } = await open()
    const key = keys.signingKey()
    const now = clock.now()
    const known = made.get(metadata)
    if (known && known.key === key.id && now < known.until) return known.signed
    const signed = signJwt(key, 'JWT', { ...metadata, iss: issuer, iat: Math.floor(now / 1000) })
    made.set(metadata, { key: key.id, until: now + usedFor, signed })
    signed.catch(() => made.delete(metadata))
    return signed
  }
  return async (metadata) => {
    try {
      return await sign(metadata)
    } catch (error) {
      // It is served without: whoever runs this must know.
      logger.warn('the metadata of a resource could not be signed', { error })
      throw error
    }
  }
}

/** Milliseconds. */
const usedFor = 3_600_000
