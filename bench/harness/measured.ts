/**
 * The server's side of a measurement. A server says by IPC when it listens, and answers what it has used so far: its own CPU time, read
 * inside the process, not the time on the clock, which others on the machine share.
 */

import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Ready {
  readonly type: 'ready'
  readonly port: number
  /** Milliseconds from the start of the process. */
  readonly elapsed: number
  readonly usage: Usage
  /** What a server wants to tell its case, for example tokens. */
  readonly facts: unknown
}

export interface Usage {
  readonly type: 'usage'
  /** Microseconds of CPU since the process started, all threads, user and system. */
  readonly cpu: number
  /** Bytes. */
  readonly resident: number
}

export type Command = 'usage' | 'stop' | { readonly ask: unknown }

/** Takes a free loopback port, unless it is told which; nothing is answered yet. */
export async function listen(server: Server, port = 0): Promise<number> {
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

/**
 * Says that the server is ready, and answers the harness from then on.
 *
 * @param answer what the case asks besides, for example to make tokens
 */
export function report(
  port: number,
  facts: unknown = undefined,
  answer?: (question: unknown) => Promise<unknown>,
): void {
  process.on('message', (command: Command) => {
    if (command === 'stop') process.exit(0)
    if (command === 'usage') send(usage())
    else void answer?.(command.ask).then((reply) => send({ type: 'reply', reply }))
  })
  process.on('disconnect', () => process.exit(0))
  send({ type: 'ready', port, elapsed: performance.now(), usage: usage(), facts } satisfies Ready)
}

function usage(): Usage {
  const { user, system } = process.cpuUsage()
  return { type: 'usage', cpu: user + system, resident: process.memoryUsage.rss() }
}

function send(message: object): void {
  if (process.send === undefined) throw new Error('a measured server is started by the harness')
  process.send(message)
}
