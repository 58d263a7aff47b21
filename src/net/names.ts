import { Resolver } from 'node:dns/promises'
import { isIP } from 'node:net'
import { addressKind } from './address.ts'
import { GuardedFetchError } from './guarded-fetch-error.ts'

/** All addresses of a name, of both families; none where there is no such name. Ends early when the signal does. */
export type Resolve = (name: string, signal: AbortSignal) => Promise<readonly string[]>

const mostAddresses = 16

/**
 * The addresses that a connection to this host may go to. One answer that is not public spoils all: a name that leads here and there is a
 * trick, or a mistake.
 * @param hostname as `URL` has it
 * @param loopback this computer is allowed too
 * @throws GuardedFetchError
 */
export const permittedAddresses = async (
  hostname: string,
  loopback: boolean,
  resolve: Resolve,
  signal: AbortSignal,
): Promise<readonly string[]> => {
  const literal = hostname.replace(/^\[(.*)\]$/, '$1')
  const addresses =
    isIP(literal) !== 0
      ? [literal]
      : loopback && hostname === 'localhost'
        ? ['127.0.0.1', '::1']
        : (await resolve(hostname, signal)).slice(0, mostAddresses)
  if (addresses.length === 0) throw new GuardedFetchError('unreachable', 'the name has no address')
  if (!addresses.every((address) => isPermitted(address, loopback))) {
    throw new GuardedFetchError('refused', 'the name leads to an address that is not public')
  }
  return addresses
}

export const isPermitted = (address: string, loopback: boolean): boolean => {
  const kind = addressKind(address)
  return kind === 'public' || (loopback && kind === 'loopback')
}

/**
 * Asks the name servers, and not the host's files, whose names are nobody else's business. Not `dns.lookup`: it waits in the thread pool, and
 * a few slow name servers of a stranger would keep this process from everything else that waits there.
 */
export const resolveName: Resolve = async (name, signal) => {
  const resolver = new Resolver({ timeout: 1_500, tries: 2 })
  const cancel = () => resolver.cancel()
  signal.addEventListener('abort', cancel, { once: true })
  try {
    const answers = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)])
    return answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}
