import { hashStrings } from '../crypto/hash.ts'
import { OAuthError } from '../oauth/errors.ts'
import type { ServerContext } from './context.ts'

const hour = 3_600_000

/**
 * Counts a registration, for its address and for all. The address comes first, so that one that is over its limit uses up nothing of what
 * the others have.
 * @throws OAuthError with status 429 and `Retry-After`
 */
export const countRegistration = async (
  { registration, records }: ServerContext,
  address: string | undefined,
): Promise<void> => {
  if (address !== undefined) {
    await count(
      records.store,
      `registrations/of/${hashStrings(network(address))}`,
      registration.perAddress,
      'per_address',
    )
  }
  await count(records.store, 'registrations/all', registration.total, 'total')
}

const count = async (
  store: ServerContext['records']['store'],
  key: string,
  limit: number,
  which: string,
): Promise<void> => {
  const { value, expiresIn } = await store.increment(key, 1, hour)
  if (value <= limit) return
  throw new OAuthError('temporarily_unavailable', 'too many registrations: try again later', {
    status: 429,
    headers: { 'Retry-After': String(Math.max(1, Math.ceil(expiresIn / 1000))) },
    reason: `rate_limit_${which}`,
  })
}

/** Who has one IPv6 address has 2^64 of them: what counts is the network. */
const network = (address: string): string => {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined) return mapped
  if (!address.includes(':')) return address
  const [head = '', tail] = (address.split('%')[0] ?? '').toLowerCase().split('::')
  const before = head === '' ? [] : head.split(':')
  const behind = tail === undefined || tail === '' ? [] : tail.split(':')
  const missing = tail === undefined ? 0 : Math.max(0, 8 - before.length - behind.length)
  const groups = [...before, ...Array.from({ length: missing }, () => '0'), ...behind]
  return groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')
}
