import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { clientAddressReader } from '../../src/net/client-address.ts'

const request = (forwarded?: string) =>
  new Request('http://localhost/', forwarded === undefined ? {} : { headers: { 'x-forwarded-for': forwarded } })

describe('who a request is from', () => {
  const read = clientAddressReader(['10.0.0.0/8', '127.0.0.1', 'fd00::/8'])

  test.each([
    ['no proxy in between', '203.0.113.5', undefined, '203.0.113.5'],
    ['fault 22: a stranger who sends the header himself', '203.0.113.5', '198.51.100.1', '203.0.113.5'],
    ['one proxy', '10.1.2.3', '203.0.113.5', '203.0.113.5'],
    ['a proxy on a socket for both families', '::ffff:10.1.2.3', '203.0.113.5', '203.0.113.5'],
    ['two proxies', '127.0.0.1', '203.0.113.5, 10.9.9.9', '203.0.113.5'],
    ['what the client said before the proxies', '10.1.2.3', '1.1.1.1, 203.0.113.5', '203.0.113.5'],
    ['an IPv6 client', 'fd00::1', '2001:db8::7', '2001:db8::7'],
    ['a proxy that says nothing', '10.1.2.3', undefined, '10.1.2.3'],
    ['a proxy that says the port, too', '10.1.2.3', '203.0.113.5:49152', '203.0.113.5'],
    ['a proxy that says the port of an IPv6 client', '10.1.2.3', '[2001:db8::7]:49152', '2001:db8::7'],
    ['a proxy that writes brackets', '10.1.2.3', '[2001:db8::7]', '2001:db8::7'],
    ['two proxies that say the port', '127.0.0.1', '203.0.113.5:49152, 10.9.9.9:443', '203.0.113.5'],
    ['a proxy that says a port and no address', '10.1.2.3', 'unknown:80', '10.1.2.3'],
    ['a proxy that says no address', '10.1.2.3', 'unknown', '10.1.2.3'],
    ['only proxies', '10.1.2.3', '10.4.4.4', '10.4.4.4'],
    ['a host that does not say', undefined, '203.0.113.5', undefined],
  ])('%s', (_, connection, forwarded, address) => {
    expect(read(request(forwarded), connection)).toBe(address)
  })

  test('with nobody trusted the header is nothing', () => {
    expect(clientAddressReader([])(request('1.1.1.1'), '127.0.0.1')).toBe('127.0.0.1')
  })

  test('of a proxy that was forgotten is told once; of strangers who send the header, never', () => {
    for (const [trusted, peer] of [
      [[], '127.0.0.1'],
      [[], '::ffff:10.0.0.1'],
      [['10.0.0.0/8'], 'fd00::1'],
      [['10.0.0.0/8'], '192.168.0.1'],
    ] as const) {
      const told: string[] = []
      const read = clientAddressReader(trusted, (address) => told.push(address))
      for (const stranger of ['8.8.8.8', '2600::1', '::ffff:8.8.8.8'])
        expect(read(request('1.1.1.1'), stranger)).toBe(stranger)
      for (const silent of [undefined, peer]) expect(read(request(), silent)).toBe(silent)
      if (trusted.length > 0) expect(read(request('1.1.1.1'), '10.0.0.1')).toBe('1.1.1.1')
      expect(told).toEqual([])
      for (let at = 0; at < 3; at++) expect(read(request('1.1.1.1'), peer)).toBe(peer)
      expect(told).toEqual([peer])
    }
  })

  test('whatever a client sends, behind one proxy its address is what the proxy saw', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.ipV4(), fc.ipV6(), fc.stringMatching(/^[ -~]{0,20}$/))), (said) => {
        const forwarded = [...said.map((text) => text.replaceAll(',', ' ')), '203.0.113.5'].join(', ')
        expect(read(request(forwarded), '10.1.2.3')).toBe('203.0.113.5')
      }),
    )
  })

  test.each(['10.0.0.0/33', '10.0.0/8', 'proxy.example', '10.0.0.0/', '::/129', ''])('refuses %j', (text) => {
    expect(() => clientAddressReader([text])).toThrow(TypeError)
  })
})
