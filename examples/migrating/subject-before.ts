import type { AuthInfo } from '@modelcontextprotocol/server'
import { decodeJwt } from 'jose'

/** "It is the user that I need, and `AuthInfo` has no place for one." */
export const authInfoOf = (token: string): AuthInfo => {
  const { sub, scope, exp } = decodeJwt(token)
  return { token, clientId: String(sub), scopes: String(scope).split(' '), expiresAt: exp ?? 0 }
}

export const notes = new Map<string, string[]>()

export const notesOf = (authInfo: AuthInfo): string[] => notes.get(authInfo.clientId) ?? []
