import { isIPv4, isIPv6 } from 'node:net'
import { globalUnicast, loopbackBlocks, specialBlocks, translated } from './special-addresses.ts'

/** `special` is all that is neither a host on the Internet nor this computer, and all that is no address. */
export type AddressKind = 'public' | 'loopback' | 'special'

/** @param text in any form that RFC 4291 §2.2 or dotted decimal allows, without brackets */
export const addressKind = (text: string): AddressKind => {
  const address = addressBytes(text)
  if (!address) return 'special'
  const { special, loopback, translation, unicast } = blocks()
  if (loopback.some((block) => contains(block, address))) return 'loopback'
  if (contains(translation, address))
    return addressKind(address.slice(12).join('.')) === 'public' ? 'public' : 'special'
  if (special.some((block) => contains(block, address))) return 'special'
  return address.length === 4 || contains(unicast, address) ? 'public' : 'special'
}

/** Four bytes or sixteen; undefined for what is no address, or one of an interface (`fe80::1%eth0`). */
export const addressBytes = (text: string): Uint8Array | undefined => {
  if (isIPv4(text)) return Uint8Array.from(text.split('.').map(Number))
  if (!isIPv6(text) || text.includes('%')) return undefined
  const [head = '', tail] = withoutDots(text).split('::')
  const before = groups(head)
  const behind = groups(tail ?? '')
  const zeros = Array.from({ length: 8 - before.length - behind.length }, () => 0)
  return Uint8Array.from([...before, ...zeros, ...behind].flatMap((group) => [group >> 8, group & 0xff]))
}

/** `::ffff:1.2.3.4` has two groups in the place of the dots. */
const withoutDots = (text: string): string =>
  text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...parts: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = parts.map(Number)
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
  })

const groups = (text: string): number[] =>
  text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16))

/** A network: all addresses that begin with the same bits. */
export interface Block {
  readonly address: Uint8Array
  readonly bits: number
}

/** @throws TypeError for what is not like `10.0.0.0/8` or `fd00::/8`, or a single address */
export const parseBlock = (text: string): Block => {
  const [prefix = '', length] = text.split('/')
  const address = addressBytes(prefix)
  const most = (address?.length ?? 0) * 8
  const bits = length === undefined ? most : /^\d{1,3}$/.test(length) ? Number(length) : -1
  if (!address || bits < 0 || bits > most) throw new TypeError(`not an address or a block of addresses: ${text}`)
  return { address, bits }
}

export const contains = ({ address: prefix, bits }: Block, address: Uint8Array): boolean => {
  if (prefix.length !== address.length) return false
  return prefix.every((byte, index) => {
    const mask = (0xff00 >> Math.min(8, Math.max(0, bits - index * 8))) & 0xff
    return (byte & mask) === ((address[index] ?? 0) & mask)
  })
}

interface Blocks {
  readonly special: readonly Block[]
  readonly loopback: readonly Block[]
  readonly translation: Block
  readonly unicast: Block
}

let parsed: Blocks | undefined

/** Parsed when first asked for: most servers start without it. */
const blocks = (): Blocks => {
  parsed ??= {
    special: specialBlocks.map(([block]) => parseBlock(block)),
    loopback: loopbackBlocks.map(parseBlock),
    translation: parseBlock(translated),
    unicast: parseBlock(globalUnicast),
  }
  return parsed
}
