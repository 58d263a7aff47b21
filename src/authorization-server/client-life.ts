import { type Client, clientRef } from '../records/client.ts'
import { type Put, put } from '../records/records.ts'
import type { ServerContext } from './context.ts'

const day = 86_400_000

/**
 * A registration lives longer than any grant that uses it; with so much to spare that few uses have to write it.
 * @param grant its end, in milliseconds since the epoch, as `now`
 */
export const clientPuts = (
  { lifetimes }: Pick<ServerContext, 'lifetimes'>,
  client: Client,
  grant: { readonly expiresAt: number },
  now: number,
): Put[] => {
  const unused = Math.max(lifetimes.unusedClient * 1000, 2 * day)
  if (client.expiresAt === undefined || client.expiresAt > grant.expiresAt + unused / 2) return []
  const expiresAt = grant.expiresAt + unused
  return [put(clientRef(client.id), { ...client, expiresAt }, expiresAt - now)]
}
