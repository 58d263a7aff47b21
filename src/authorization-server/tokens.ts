import { base64url, equalTexts, fromBase64url } from '../crypto/bytes.ts'
import { hmacSha256, hmacText } from '../crypto/hash.ts'
import type { Random } from '../events/random.ts'
import type { MacKey } from '../keys/ring.ts'

/**
 * The forms of what this server hands out. Each kind has a prefix of its own, so that one is never taken for another and a leaked
 * one can be searched for; each has one spelling, so that nobody makes a second token of the first.
 */
const grantIdLength = 16
const secretLength = 32
const codeForm = /^cs_ac_([\w-]{22})\.([\w-]{22})\.([\w-]{43})$/
const refreshTokenForm = /^(cs_rt_([\w-]{22})\.([\w-]{22})\.(0|[1-9]\d{0,14})\.([\w-]{1,64}))\.([\w-]{43})$/

/** 128 random bits, base64url. */
export const newGrantId = (random: Random): string => base64url(random.bytes(grantIdLength))

/** 256 random bits, base64url. */
export const newSecret = (random: Random): string => base64url(random.bytes(secretLength))

export interface Code {
  readonly grant: string
  /** The upstream session that the grant stands on: so that both are read at once. */
  readonly session: string
  readonly secret: string
}

export const formatCode = ({ grant, session, secret }: Code): string => `cs_ac_${grant}.${session}.${secret}`

export const parseCode = (text: string): Code | undefined => {
  const [, grant, session, secret] = codeForm.exec(text) ?? []
  if (!grant || !session || !secret) return undefined
  return [grant, session, secret].every(isCanonical) ? { grant, session, secret } : undefined
}

/** A refresh token that was read but not verified: its grant's salt is needed for that. */
export interface RefreshToken {
  readonly grant: string
  /** The upstream session that the grant stands on: so that both are read at once. Whoever made the token up may have written any. */
  readonly session: string
  readonly generation: number
  readonly keyId: string
  /** What the MAC is over. */
  readonly signed: string
  readonly mac: string
}

export const parseRefreshToken = (text: string): RefreshToken | undefined => {
  const [, signed, grant, session, generation, keyId, mac] = refreshTokenForm.exec(text) ?? []
  if (!signed || !grant || !session || !keyId || !mac) return undefined
  if (!isCanonical(grant) || !isCanonical(session)) return undefined
  return { grant, session, generation: Number(generation), keyId, signed, mac }
}

/** The one token of a grant's generation under a key: the same each time, so that it can be given again to a client that lost it. */
export const deriveRefreshToken = (
  { grant, session }: Pick<RefreshToken, 'grant' | 'session'>,
  generation: number,
  salt: string,
  key: MacKey,
): string => {
  const signed = `cs_rt_${grant}.${session}.${generation}.${key.id}`
  return `${signed}.${macOf(signed, salt, key)}`
}

/** Constant-time. `key` is the one that the token names. */
export const isGenuine = (token: RefreshToken, salt: string, key: MacKey): boolean =>
  key.id === token.keyId &&
  (equalTexts(token.mac, macOf(token.signed, salt, key)) || equalTexts(token.mac, olderMacOf(token.signed, salt, key)))

/**
 * Under the server's key, and over random bytes that only the grant has: neither a stolen database nor a stolen secret alone makes tokens. The
 * salt's length is always the same, so that no two pairs read alike.
 */
const macOf = (signed: string, salt: string, { key }: MacKey): string =>
  hmacText(key, `refresh token ${salt} ${signed}`)

/** As tokens were made before the first release: it took twice as long. */
const olderMacOf = (signed: string, salt: string, { key }: MacKey): string =>
  hmacText(hmacSha256(key, `refresh token ${salt}`), signed)

const isCanonical = (text: string): boolean => fromBase64url(text) !== undefined
