import * as z from 'zod'

/** The public keys of a client, or where they are. @see RFC 7591 §2 */
export type ClientKeys = { readonly jwks: { readonly keys: readonly object[] } } | { readonly jwksUri: string }

const maximumKeys = 32
const keySet = z.looseObject({ keys: z.array(z.looseObject({})) })

/** What makes a public key and says what it is for, and how long that may be: no more than 8192 bits of RSA. */
const members = { kty: 8, crv: 16, x: 88, y: 88, n: 1366, e: 12, kid: 512, alg: 32, use: 32 } as const
const key = z.object({
  ...Object.fromEntries(Object.entries(members).map(([name, longest]) => [name, z.string().max(longest).optional()])),
  kty: z.string().max(members.kty),
  key_ops: z.array(z.string().max(32)).max(8).optional(),
})

/**
 * The public keys of a set that strangers chose: of each what is needed to compute with it, so that nothing else (certificates, whatever) is kept.
 * At most 32; what is no key, or one beyond any size, is left out.
 */
export const publicKeys = (keys: readonly unknown[]): readonly { readonly kty: string }[] =>
  keys.slice(0, maximumKeys).flatMap((each) => key.safeParse(each).data ?? [])

/**
 * Reads `jwks` or `jwks_uri` of a client's metadata: `jwks` first, it needs nobody else. What the URI may lead to is decided when it is fetched.
 * Undefined where there is none that can be used.
 */
export const readClientKeys = ({ jwks, jwks_uri: uri }: Readonly<Record<string, unknown>>): ClientKeys | undefined => {
  const set = keySet.safeParse(jwks).data
  if (set) return { jwks: { keys: publicKeys(set.keys) } }
  if (typeof uri !== 'string' || uri.length > 2048 || !URL.canParse(uri)) return undefined
  return /^https?:$/.test(new URL(uri).protocol) ? { jwksUri: uri } : undefined
}

/** `d` is in every private key, `k` in every symmetric one. @see RFC 7518 §6 */
export const hasPrivateKey = (jwks: unknown): boolean =>
  keySet.safeParse(jwks).data?.keys.some((key) => 'd' in key || 'k' in key) ?? false
