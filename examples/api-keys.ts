import { apiKeys, createApiKey, jwks, resourceServer, type StoredApiKey } from 'countersign'

/** A server for people, whose tokens an issuer gives out, and for scripts, whose keys the operator does. */
export const reportsServer = (resource: string, issuer: string) => {
  const kept = new Map<string, StoredApiKey>()
  const auth = resourceServer({
    resource,
    issuers: [
      jwks(issuer),
      apiKeys({ issuer: `${resource}/keys`, prefix: 'reports', keys: async (id) => kept.get(id) }),
    ],
    scopes: { 'reports:read': 'See reports' },
  })

  /** Answers what is shown once. Kept are the key's id, a hash, and whom it is for. */
  const createKey = async (subject: string, expiresAt: number): Promise<string> => {
    const { key, id, hash } = await createApiKey('reports')
    kept.set(id, { id, hash, subject, scopes: ['reports:read'], expiresAt })
    return key
  }
  return { auth, createKey, deleteKey: (id: string) => kept.delete(id) }
}
