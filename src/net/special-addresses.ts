/**
 * Addresses that no stranger's name may lead to: blocks, and what they are.
 *
 * From IANA's registries of special-purpose addresses (IPv4 of 2025-10-09, IPv6 of 2025-10-09), whole, also where a block is globally
 * reachable: none of them has web servers. Besides them multicast, IPv6 site-local, and one address that is public in name only.
 * @see https://www.iana.org/assignments/iana-ipv4-special-registry
 * @see https://www.iana.org/assignments/iana-ipv6-special-registry
 * @see RFC 6890
 */
export const specialBlocks: readonly (readonly [block: string, what: string])[] = [
  ['0.0.0.0/8', 'this network'],
  ['10.0.0.0/8', 'private use'],
  ['100.64.0.0/10', 'shared by carriers'],
  ['127.0.0.0/8', 'loopback'],
  // Where the metadata services of clouds are, too.
  ['169.254.0.0/16', 'link-local'],
  ['172.16.0.0/12', 'private use'],
  ['192.0.0.0/24', 'IETF protocol assignments'],
  ['192.0.2.0/24', 'documentation'],
  ['192.31.196.0/24', 'AS112'],
  ['192.52.193.0/24', 'AMT'],
  ['192.88.99.0/24', '6to4 relays, deprecated'],
  ['192.168.0.0/16', 'private use'],
  ['192.175.48.0/24', 'AS112'],
  ['198.18.0.0/15', 'benchmarking'],
  ['198.51.100.0/24', 'documentation'],
  ['203.0.113.0/24', 'documentation'],
  ['224.0.0.0/4', 'multicast'],
  ['240.0.0.0/4', 'reserved, and limited broadcast'],
  // Not in the registry: inside Azure it is the platform itself.
  ['168.63.129.16/32', 'a cloud platform'],

  ['::/128', 'unspecified'],
  ['::1/128', 'loopback'],
  ['::ffff:0:0/96', 'IPv4-mapped'],
  ['64:ff9b:1::/48', 'IPv4-IPv6 translation, local use'],
  ['100::/64', 'discard only'],
  ['100:0:0:1::/64', 'dummy prefix'],
  // Teredo, ORCHID, benchmarking and others.
  ['2001::/23', 'IETF protocol assignments'],
  ['2001:db8::/32', 'documentation'],
  // An IPv4 address is inside it, whichever.
  ['2002::/16', '6to4'],
  ['2620:4f:8000::/48', 'AS112'],
  ['3fff::/20', 'documentation'],
  ['5f00::/16', 'segment routing'],
  ['fc00::/7', 'unique local'],
  ['fe80::/10', 'link-local'],
  ['fec0::/10', 'site-local, deprecated'],
  ['ff00::/8', 'multicast'],
]

/** What IANA gives out for hosts on the Internet; all other IPv6 is not (yet) global unicast. @see RFC 4291 §2.4 */
export const globalUnicast = '2000::/3'

/**
 * The well-known prefix of IPv4-IPv6 translation: in a network without IPv4 every IPv4 host is reached through it, so it is as public as the
 * IPv4 address in its last four bytes.
 * @see RFC 6052 §2.1
 */
export const translated = '64:ff9b::/96'

export const loopbackBlocks: readonly string[] = ['127.0.0.0/8', '::1/128']
