import { z } from 'zod'

/** The public keys of a client, or where they are. @see RFC 7591 §2 */
export type ClientKeys = { readonly jwks: { readonly keys: readonly object[] } } | { readonly jwksUri: string }

const maximumKeys = 32
const keySet = z.looseObject({ keys: z.array(z.looseObject({})) })

/**
 * Reads `jwks` or `jwks_uri` of a client's metadata: `jwks` first, it needs nobody else. What the URI may lead to is decided when it is fetched.
 * Undefined where there is none that can be used.
 */
export const readClientKeys = ({ jwks, jwks_uri: uri }: Readonly<Record<string, unknown>>): ClientKeys | undefined => {
  const set = keySet.safeParse(jwks).data
  if (set) return { jwks: { keys: set.keys.slice(0, maximumKeys) } }
  if (typeof uri !== 'string' || uri.length > 2048 || !URL.canParse(uri)) return undefined
  return /^https?:$/.test(new URL(uri).protocol) ? { jwksUri: uri } : undefined
}

/** `d` is in every private key, `k` in every symmetric one. @see RFC 7518 §6 */
export const hasPrivateKey = (jwks: unknown): boolean =>
  keySet.safeParse(jwks).data?.keys.some((key) => 'd' in key || 'k' in key) ?? false
