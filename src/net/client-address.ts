import { addressBytes, addressKind, contains, parseBlock } from './address.ts'

/**
 * Who a request is from, behind proxies: the last address of the connection and of `X-Forwarded-For` that is none of the trusted proxies'.
 * What stands further left was said by that client, and is believed by nobody.
 *
 * @param trusted addresses and blocks (`10.0.0.0/8`) of proxies that append to `X-Forwarded-For`; with none, the connection's address counts
 * @param onOther hears once of a peer in a network of one's own that sends the header and is not trusted: a proxy that was forgotten, perhaps
 * @throws TypeError for what is neither
 */
export const clientAddressReader = (trusted: readonly string[], onOther: (address: string) => void = () => {}) => {
  const blocks = trusted.map(parseBlock)
  const isTrusted = (address: string): boolean => {
    const bytes = addressBytes(unmapped(address))
    return bytes !== undefined && blocks.some((block) => contains(block, bytes))
  }
  // Behind a proxy, all connections are from one address or a few.
  let proxy: string | undefined
  const isProxy = (address: string): boolean => {
    if (address === proxy) return true
    const trusts = isTrusted(address)
    if (trusts) proxy = address
    return trusts
  }
  let told = false
  const tell = (request: Request, connection: string): void => {
    if (told || !request.headers.has('x-forwarded-for') || addressKind(unmapped(connection)) === 'public') return
    told = true
    onOther(connection)
  }
  return (request: Request, connection: string | undefined): string | undefined => {
    if (connection === undefined) return undefined
    if (blocks.length === 0 || !isProxy(connection)) {
      tell(request, connection)
      return connection
    }
    const header = request.headers.get('x-forwarded-for')
    if (header === null) return connection
    let address = connection
    const forwarded = header.split(',').reverse()
    for (const next of forwarded.map((text) => withoutPort(text.trim()))) {
      if (addressBytes(next) === undefined) return address
      address = next
      if (!isTrusted(address)) return address
    }
    return address
  }
}

/** A socket for both families shows an IPv4 peer as `::ffff:10.0.0.1`. */
const unmapped = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, '')

/** Some proxies write the port of the connection behind the address, and brackets around one of IPv6. */
const withoutPort = (text: string): string => {
  const [, ipv6, ipv4] = /^(?:\[([^\]]*)\](?::\d+)?|([\d.]+):\d+)$/.exec(text) ?? []
  return ipv6 ?? ipv4 ?? text
}
