import { looksLikeClientIdUrl } from '../oauth/client-id-metadata.ts'
import { clientRef } from '../records/client.ts'
import { consentRef } from '../records/consent.ts'
import { clientGrantRef, clientGrants, clientGrantsOf, type Grant, grantRef } from '../records/grant.ts'
import type { Ref, Stored } from '../records/records.ts'
import { clientRevocation } from '../records/revocation.ts'
import type { ServerContext } from './context.ts'
import { indexesOf } from './grants.ts'
import { commitRevocation } from './revocations.ts'
import { newGrantId } from './tokens.ts'

/**
 * Ends a client with all that was issued to it: at once on every node, and then grant by grant, so that none is in a list any more and the
 * providers' tokens that nothing stands on are given up.
 * @returns false where there was no such client
 * @throws StoreUnavailable it may be half done; asking again is safe, and goes on
 */
export const endClient = async (server: ServerContext, id: string, by: 'operator' | 'client'): Promise<boolean> => {
  const ref = clientRef(id)
  const { values, now } = await server.records.get(ref)
  const existed = values[0] !== undefined
  // A client proves itself by its registration: to ask again, it needs that until hardly anything is left.
  if (existed && by === 'client') await endGrants(server, id)
  if (existed) {
    await commitRevocation(server, clientRevocation(id, newGrantId(server.random)), now, { deletes: [ref] })
    server.audit({ type: 'client.deleted', clientId: id, by })
  }
  // Also without the client: whoever deleted it may not have come so far.
  const ended = await endGrants(server, id)
  // The copy of a document says nothing, so nodes looked at the grants: those that looked before they ended must look again.
  if (ended && looksLikeClientIdUrl(id)) {
    await commitRevocation(server, clientRevocation(id, newGrantId(server.random)), now, {})
  }
  return existed
}

const batch = 100

const endGrants = async (server: ServerContext, clientId: string): Promise<boolean> => {
  const { records, logger } = server
  for (let ended = false; ; ended = true) {
    const listed = await records.list(clientGrants, clientGrantsOf(clientId), { limit: batch })
    const ids = listed.values.map(({ ref }) => ref.key.slice(ref.key.lastIndexOf('/') + 1))
    if (ids.length === 0) return ended
    const { values } = await records.get(...ids.map(grantRef))
    const grants = values.flatMap((stored: Stored<Grant> | undefined) => (stored ? [stored.value] : []))
    // Each by itself: a commit takes so much and no more, and a client may be that of very many people.
    for (const grant of grants) {
      await records.commit({ deletes: namesOf(grant) })
      const session = grant.upstreamSession
      try {
        await server.custody.release(session)
      } catch (error) {
        logger.warn('the upstream session of a deleted client’s grant was not released', { session, error })
      }
    }
    // The index may name some that have ended by themselves.
    await records.commit({ deletes: ids.map((id) => clientGrantRef(clientId, id)) })
  }
}

/** The grant, where it is named, and what let it be granted again without asking: an id that is a URL may come back. */
const namesOf = (grant: Grant): readonly Ref<unknown>[] => [
  grantRef(grant.id),
  ...indexesOf(grant),
  ...(grant.kind === 'authorization'
    ? Object.keys(grant.resources).map((resource) =>
        consentRef(grant.account, grant.clientId, grant.redirectHost, resource),
      )
    : []),
]
