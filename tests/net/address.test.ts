import { isIPv6 } from 'node:net'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressBytes, addressKind } from '../../src/net/address.ts'
import { specialBlocks } from '../../src/net/special-addresses.ts'

const settings = { numRuns: 500 }

const v4 = fc.array(fc.nat(255), { minLength: 4, maxLength: 4 })
const v6 = fc.array(fc.nat(0xffff), { minLength: 8, maxLength: 8 })
const dotted = (bytes: readonly number[]) => bytes.join('.')
const hex = (groups: readonly number[]) => groups.map((group) => group.toString(16)).join(':')

/** An address as a number, by a way of its own. */
const numberOf = (groups: readonly number[], bits: number) =>
  groups.reduce((sum, group) => (sum << BigInt(bits)) | BigInt(group), 0n)

describe('what is no host on the Internet', () => {
  test.each([
    ...[
      '0.0.0.0',
      '0.1.2.3',
      '10.0.0.1',
      '10.255.255.255',
      '100.64.0.1',
      '100.127.255.255',
      '127.0.0.1',
      '127.255.0.1',
    ],
    ...['169.254.169.254', '172.16.0.1', '172.31.255.255', '192.0.0.1', '192.0.0.192', '192.0.2.1', '192.31.196.1'],
    ...['192.52.193.1', '192.88.99.1', '192.168.0.1', '192.175.48.1', '198.18.0.1', '198.19.255.255', '198.51.100.1'],
    ...[
      '203.0.113.1',
      '224.0.0.1',
      '239.255.255.255',
      '240.0.0.1',
      '255.255.255.255',
      '168.63.129.16',
      '100.100.100.200',
    ],
    ...[
      '::',
      '::1',
      '0:0:0:0:0:0:0:1',
      '::127.0.0.1',
      '::7f00:1',
      '::ffff:127.0.0.1',
      '::ffff:7f00:1',
      '::ffff:10.0.0.1',
    ],
    ...['::ffff:8.8.8.8', '0:0:0:0:0:ffff:808:808', '::ffff:0:127.0.0.1', '64:ff9b::10.0.0.1', '64:ff9b::7f00:1'],
    ...[
      '64:ff9b::a9fe:a9fe',
      '64:ff9b::169.254.169.254',
      '64:ff9b:1::8.8.8.8',
      '64:ff9b:1::1',
      '100::1',
      '100:0:0:1::1',
    ],
    ...['2001::1', '2001:0:1::1', '2001:2::1', '2001:10::1', '2001:20::1', '2001:1ff::1', '2001:db8::1'],
    ...['2002:7f00:1::', '2002:a00:1::1', '2002:808:808::1', '2620:4f:8000::1', '3fff::1', '3fff:fff::1', '5f00::1'],
    ...['fc00::1', 'fd00:ec2::254', 'fdff::1', 'fe80::1', 'fe80::1%eth0', 'febf::1', 'fec0::1', 'ff02::1', 'ff0e::1'],
    ...['4000::1', '1::1', '200::1', 'e000::1'],
    ...[
      '',
      'example.com',
      '1.2.3',
      '1.2.3.4.5',
      '01.2.3.4',
      '256.1.1.1',
      '0x7f.0.0.1',
      '[::1]',
      '1.1.1.1 ',
      '2606:4700::1%1',
    ],
  ])('%s', (text) => {
    expect(addressKind(text)).not.toBe('public')
  })

  test('each block of the registries, at its first and its last address; and beside it is another', () => {
    for (const [block] of specialBlocks) {
      const [prefix = '', bits = ''] = block.split('/')
      const bytes = addressBytes(prefix) ?? new Uint8Array()
      expect(bytes.length, block).toBe(prefix.includes(':') ? 16 : 4)
      const last = bytes.map((byte, index) => byte | (0xff >> Math.min(8, Math.max(0, Number(bits) - index * 8))))
      for (const each of [bytes, last]) expect(addressKind(textOf(each)), block).not.toBe('public')
    }
    for (const text of ['9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0', '172.15.255.255', '172.32.0.0']) {
      expect(addressKind(text), text).toBe('public')
    }
    for (const text of ['169.253.255.255', '223.255.255.255', '2001:200::1', '2003::1', '2001:db9::1', '3ffe::1']) {
      expect(addressKind(text), text).toBe('public')
    }
  })
})

test('hosts on the Internet', () => {
  for (const text of ['1.1.1.1', '8.8.8.8', '93.184.216.34', '2606:4700:4700::1111', '2A00:1450::200E', '2600::']) {
    expect(addressKind(text), text).toBe('public')
  }
  // In a network without IPv4 all of IPv4 is there.
  expect(addressKind('64:ff9b::8.8.8.8')).toBe('public')
  expect(addressKind('64:ff9b::808:808')).toBe('public')
})

test('this computer is told apart, for development', () => {
  for (const text of ['127.0.0.1', '127.9.9.9', '::1', '0::1']) expect(addressKind(text)).toBe('loopback')
  for (const text of ['::ffff:127.0.0.1', '0.0.0.0', '::', '64:ff9b::127.0.0.1']) {
    expect(addressKind(text)).toBe('special')
  }
})

test('every IPv4 address is public exactly where no block has it', () => {
  const blocks = specialBlocks
    .filter(([block]) => !block.includes(':'))
    .map(([block]) => {
      const [prefix = '', bits = ''] = block.split('/')
      return { from: numberOf(prefix.split('.').map(Number), 8), size: 1n << BigInt(32 - Number(bits)) }
    })
  fc.assert(
    fc.property(v4, (bytes) => {
      const number = numberOf(bytes, 8)
      const inBlock = blocks.some(({ from, size }) => number >= from && number < from + size)
      expect(addressKind(dotted(bytes)) === 'public').toBe(!inBlock)
    }),
    settings,
  )
})

test('every way to write an IPv6 address is the same address', () => {
  fc.assert(
    fc.property(v6, fc.nat(7), fc.nat(8), fc.boolean(), (random, from, length, upper) => {
      const groups = random.map((group, index) => (index >= from && index < from + length ? 0 : group))
      const end = Math.min(8, from + length)
      const short = length === 0 ? hex(groups) : `${hex(groups.slice(0, from))}::${hex(groups.slice(end))}`
      const low = groups.slice(6).flatMap((group) => [group >> 8, group & 0xff])
      const padded = groups.map((group) => group.toString(16).padStart(4, '0')).join(':')
      const forms = [hex(groups), padded, short, `${hex(groups.slice(0, 6))}:${dotted(low)}`]
      for (const form of forms.map((each) => (upper ? each.toUpperCase() : each))) {
        expect(isIPv6(form), form).toBe(true)
        const bytes = [...(addressBytes(form) ?? [])]
        expect(bytes, form).toEqual(groups.flatMap((group) => [group >> 8, group & 0xff]))
        expect(addressKind(form)).toBe(addressKind(hex(groups)))
      }
    }),
    settings,
  )
})

test('an IPv4 address inside an IPv6 address is never more public than it is itself', () => {
  fc.assert(
    fc.property(v4, (bytes) => {
      const [a = 0, b = 0, c = 0, d = 0] = bytes
      const groups = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
      const inside = addressKind(dotted(bytes)) === 'public'
      expect(addressKind(`64:ff9b::${groups}`)).toBe(inside ? 'public' : 'special')
      expect(addressKind(`64:ff9b::${dotted(bytes)}`)).toBe(inside ? 'public' : 'special')
      for (const text of [`::ffff:${groups}`, `::ffff:0:${groups}`, `2002:${groups}::1`, `64:ff9b:1::${groups}`]) {
        expect(addressKind(text), text).toBe('special')
      }
    }),
    settings,
  )
})

test('any text is an address or not, and never throws', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'0123456789abf:.%x[]') })), (text) => {
      expect(['public', 'loopback', 'special']).toContain(addressKind(text))
    }),
    { numRuns: 2_000 },
  )
})

const textOf = (bytes: Uint8Array): string =>
  bytes.length === 4
    ? dotted([...bytes])
    : hex(Array.from({ length: 8 }, (_, index) => ((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0)))
