import { put, type Records, recordType, refTo, type Stored } from './records.ts'

const leases = recordType<{ readonly holder: string }>({ name: 'lease', schema: 1, sealed: false })

export type Lease = Stored<{ readonly holder: string }>

/**
 * Takes a lease in the cluster for `ttl` milliseconds; undefined while another holds it. It must be longer than what is done under it may take,
 * and what is done under it must still be safe when it runs out: a lease saves work, it decides nothing.
 */
export const takeLease = async (
  records: Records,
  name: string,
  holder: string,
  ttl: number,
): Promise<Lease | undefined> => {
  const ref = refTo(leases, name)
  const { values } = await records.get(ref)
  if (values[0]) return undefined
  const result = await records.commit({ unchanged: [ref], puts: [put(ref, { holder }, ttl)] })
  return result.committed ? { ref, value: { holder }, version: result.version } : undefined
}

/** Gives a lease back; nothing happens where it ran out and another took it. */
export const endLease = async (records: Records, lease: Lease): Promise<void> => {
  await records.commit({ unchanged: [lease], deletes: [lease.ref], notify: [`released:${lease.value.holder}`] })
}
