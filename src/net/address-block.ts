import { isIPv4, isIPv6 } from 'node:net'

/** What one subscriber has: an IPv4 address, or an IPv6 network of 64 bits. Other text is taken as it is. */
export const addressBlock = (address: string): string => {
  const [plain = ''] = address.split('%')
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(plain)?.[1]
  if (mapped !== undefined && isIPv4(mapped)) return mapped
  if (!isIPv6(plain)) return address
  // The URL parser writes any IPv6 address in its one canonical form.
  const canonical = new URL(`http://[${plain}]`).hostname.slice(1, -1)
  if (canonical.startsWith('::ffff:')) return canonical
  const [head = '', tail] = canonical.split('::')
  const start = head === '' ? [] : head.split(':')
  const end = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = Array.from({ length: 8 - start.length - end.length }, () => '0')
  return [...start, ...zeros, ...end].slice(0, 4).join(':')
}
