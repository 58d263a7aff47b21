import { type Clock, systemClock } from '../events/clock.ts'
import { TokenInvalid, VerifierUnavailable } from '../identity/verifier.ts'
import { ConfigurationError } from '../oauth/configuration-error.ts'
import { digestOf, type HandIssued, handIssuedToken, sameDigest } from './hand-issued.ts'
import type { IssuerVerifier } from './issuer.ts'

/** What is kept of an API key: nothing that the key could be made of again. */
export interface StoredApiKey extends HandIssued {
  readonly id: string
  /** As `createApiKey` made it. */
  readonly hash: string
}

export interface ApiKeysOptions {
  /** What stands as the issuer of the keys: subjects are unique within it. */
  readonly issuer: string
  /** What keys begin with, so that scanners find those that were published by mistake. Default `cs_key`. */
  readonly prefix?: string
  /** The keys that are good now, or where one is found by its id; a key that is taken away is refused at its next use. */
  readonly keys:
    | readonly StoredApiKey[]
    | ((id: string) => Promise<StoredApiKey | undefined> | StoredApiKey | undefined)
  readonly clock?: Clock
}

/**
 * Takes API keys as bearer tokens, each with a subject of its own.
 * @throws ConfigurationError for options that can't be right
 */
export const apiKeys = ({
  issuer,
  prefix = defaultPrefix,
  keys,
  clock = systemClock,
}: ApiKeysOptions): IssuerVerifier => {
  checkPrefix(prefix)
  if (issuer === '') throw new ConfigurationError('issuer', 'a name for who vouches for the subjects of the keys')
  const form = new RegExp(`^${prefix}_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$`)
  const find = typeof keys === 'function' ? keys : (id: string) => keys.find((each) => each.id === id)
  return {
    issuer,
    authorizationServer: false,
    recognises: (token) => token.startsWith(`${prefix}_`),

    async verify(token, resource) {
      const [, id, secret] = form.exec(token) ?? []
      if (id === undefined || secret === undefined) throw new TokenInvalid('malformed')
      const found = await lookUp(find, id)
      const same = sameDigest(await digestOf(secret), fromBase64url(found?.hash ?? ''))
      if (!found || found.id !== id || !same) throw new TokenInvalid('revoked')
      const now = clock.now()
      if (found.expiresAt !== undefined && found.expiresAt * 1000 <= now) throw new TokenInvalid('expired')
      return handIssuedToken(token, resource, issuer, now, { ...found, clientId: found.clientId ?? `${prefix}_${id}` })
    },
  }
}

/** A new key. Show `key` once; keep `id` and `hash`, with whom it is for. */
export const createApiKey = async (
  prefix: string = defaultPrefix,
): Promise<{ readonly key: string; readonly id: string; readonly hash: string }> => {
  checkPrefix(prefix)
  const id = [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
  const secret = base64url(crypto.getRandomValues(new Uint8Array(32)))
  return { key: `${prefix}_${id}_${secret}`, id, hash: base64url(await digestOf(secret)) }
}

/** What can't be asked is nobody's fault who has a key. */
const lookUp = async (
  find: (id: string) => Promise<StoredApiKey | undefined> | StoredApiKey | undefined,
  id: string,
): Promise<StoredApiKey | undefined> => {
  try {
    return await find(id)
  } catch (cause) {
    throw new VerifierUnavailable('an API key could not be looked up', { cause })
  }
}

const checkPrefix = (prefix: string): void => {
  if (!/^[a-z][a-z0-9]*(?:_[a-z0-9]+)*$/.test(prefix) || prefix.length > 32) {
    throw new ConfigurationError('prefix', 'lower-case letters and digits, with single underscores between')
  }
}

const base64url = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes))
    .replace(/\+/g, '-')
    .replace(/\//g, '_')
    .replaceAll('=', '')

const fromBase64url = (text: string): Uint8Array => {
  if (!/^[A-Za-z0-9_-]{43}$/.test(text)) return new Uint8Array(0)
  return Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (character) => character.charCodeAt(0))
}

const defaultPrefix = 'cs_key'
