import { isIPv4, isIPv6 } from 'node:net'

/** What one subscriber has: an IPv4 address, or an IPv6 network of 64 bits. Other text is taken as it is. */
export const addressBlock = (address: string): string => {
  const [plain = ''] = address.split('%')
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(plain)?.[1]
  if (mapped !== undefined && isIPv4(mapped)) return mapped
  if (!isIPv6(plain)) return address
  // The URL parser writes any IPv6 address in its one canonical form.
  const canonical = new URL(`http://[${plain}]`).hostname.slice(1, -1)
  // IPv4 in IPv6 is one address, also where a translator stands in front: else all of IPv4 would be one subscriber.
  if (canonical.startsWith('::ffff:') || canonical.startsWith('64:ff9b::')) return canonical
  const [head = '', tail] = canonical.split('::')
  const start = head === '' ? [] : head.split(':')
  const end = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = Array.from({ length: 8 - start.length - end.length }, () => '0')
  return [...start, ...zeros, ...end].slice(0, 4).join(':')
}

/**
 * The network that a subscriber of IPv6 may have all of, with very many blocks in it: 48 bits. Undefined for IPv4, where an address is all that one has.
 * @see RFC 6177 §2
 */
export const addressSite = (address: string): string | undefined => {
  const [a, b, c, d, ...more] = addressBlock(address).split(':')
  return d === undefined || more.length > 0 ? undefined : `${a}:${b}:${c}::/48`
}

/** How much more a whole site may than one block of it: it may be a household, or an office. */
export const blocksOfSite = 4
