import { base64url, equalBytes, fromBase64url, fromUtf8, utf8 } from '../crypto/bytes.ts'
import { deriveKey, hmacSha256 } from '../crypto/hash.ts'
import { UnsealError } from '../crypto/sealing.ts'
import type { Clock } from '../events/clock.ts'
import type { AccessToken } from '../identity/access-token.ts'
import { principal } from '../identity/principal.ts'
import type { MacKey } from '../keys/ring.ts'
import type { Sealer } from '../records/records.ts'

/** What binds: a server's key ring, or keys made of a secret. */
export interface BindingKeys extends Sealer {
  macKey(): MacKey
  macKeyById(id: string): Promise<MacKey | undefined>
}

/**
 * Binds what a server gives a client to hold to the one it was given to: nobody else's token can continue with it. It needs no store, so that any
 * node with the same keys can tell.
 */
export interface Binding {
  /** The id that the caller gets in place of the server's: the same one each time. */
  issueId(kind: BoundId, id: string, token: AccessToken): string
  /** The server's id in one of this kind that was issued to this caller; undefined for any other. */
  readId(kind: BoundId, presented: string, token: AccessToken): Promise<string | undefined>
  /** @param request what the state belongs to, as a string that is equal exactly for requests that may use it */
  sealState(state: string, token: AccessToken, request: string): string
  /** The server's state, if it was sealed for this caller and this request and is not too old. */
  openState(sealed: string, token: AccessToken, request: string): Promise<string | undefined>
}

/** What an id is of: `endpoint` is a session of the HTTP+SSE transport. An id of one kind is none of another. */
export type BoundId = 'session' | 'event' | 'endpoint'

export const createBinding = (keys: BindingKeys, clock: Clock): Binding => {
  const derived = new Map<string, Uint8Array>()

  const idMac = (kind: BoundId, keyId: string, key: Uint8Array, id: string, token: AccessToken): Uint8Array => {
    const name = `${kind} ${keyId}`
    let kindKey = derived.get(name)
    if (!kindKey) {
      kindKey = deriveKey(key, `mcp ${kind}`)
      derived.set(name, kindKey)
    }
    return hmacSha256(kindKey, JSON.stringify([keyId, principal(token).key, token.resource, id]))
  }

  const unseal = async (sealed: Uint8Array, context: string): Promise<Uint8Array | undefined> => {
    for (const last of [false, true]) {
      try {
        return keys.unseal(sealed, context)
      } catch (error) {
        if (!(error instanceof UnsealError)) throw error
        // Perhaps another node seals with a newer key by now.
        if (last || error.reason !== 'unknown_key') return undefined
        await keys.refresh()
      }
    }
    return undefined
  }

  return {
    issueId(kind, id, token) {
      const { id: keyId, key } = keys.macKey()
      return `${id}.${keyId}.${base64url(idMac(kind, keyId, key, id, token))}`
    },

    async readId(kind, presented, token) {
      const [, id, keyId, text] = idForm.exec(presented) ?? []
      const mac = text === undefined ? undefined : fromBase64url(text)
      if (id === undefined || keyId === undefined || !mac) return undefined
      const key = await keys.macKeyById(keyId)
      return key && equalBytes(mac, idMac(kind, keyId, key.key, id, token)) ? id : undefined
    },

    sealState(state, token, request) {
      const expiresAt = Math.floor(clock.now() / 1000) + stateLifetime
      return `${statePrefix}${base64url(keys.seal(utf8(`${expiresAt} ${state}`), contextOf(token, request)))}`
    },

    async openState(sealed, token, request) {
      if (!sealed.startsWith(statePrefix)) return undefined
      const bytes = fromBase64url(sealed.slice(statePrefix.length))
      const opened = bytes && (await unseal(bytes, contextOf(token, request)))
      if (!opened) return undefined
      const text = fromUtf8(opened)
      const space = text.indexOf(' ')
      return Number(text.slice(0, space)) * 1000 > clock.now() ? text.slice(space + 1) : undefined
    },
  }
}

const contextOf = (token: AccessToken, request: string): string =>
  JSON.stringify(['mcp request state', principal(token).key, token.resource, request])

/** Visible ASCII, which is all that an id may have in a header; the last two parts are ours. */
const idForm = /^([\x21-\x7e]{1,1024})\.([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{43})$/
const statePrefix = 'cs_state_'
/** Seconds: as long as a person may take to answer what the server asked. */
const stateLifetime = 3600
