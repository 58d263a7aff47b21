import { createServer, connect as dial, type Socket } from 'node:net'

/**
 * What happens to the bytes of a direction. `drop` throws them away, and all that come after them on that connection, because TCP loses
 * nothing in the middle; `hold` keeps them until it is `pass` again.
 */
export type Flow = 'pass' | 'hold' | 'drop'

export interface TcpProxy {
  readonly port: number
  /** From clients to the server, and back: for connections that are there and those to come. */
  requests: Flow
  answers: Flow
  /** Bytes that came from clients so far, dropped ones too. */
  readonly requested: number
  /** Ends all connections at once, with a reset. */
  cut(): void
  /** Tells clients that nothing more will come, and goes on taking what they send. */
  halfClose(): void
  close(): Promise<void>
}

/** A proxy on a loopback port that does to connections what networks do. */
export async function tcpProxy(target: number): Promise<TcpProxy> {
  const flows = { requests: 'pass' as Flow, answers: 'pass' as Flow }
  const held: (() => void)[] = []
  const pairs = new Set<readonly [Socket, Socket]>()
  let requested = 0

  const pump = (from: Socket, to: Socket, direction: keyof typeof flows) => {
    let lost = false
    from.on('data', (bytes: Buffer) => {
      if (direction === 'requests') requested += bytes.length
      const send = () => {
        if (to.writable) to.write(bytes)
      }
      lost ||= flows[direction] === 'drop'
      if (lost) return
      if (flows[direction] === 'hold') held.push(send)
      else send()
    })
    from.on('error', () => {}) // It closes, too.
    // What is held was sent before the end, and arrives before it.
    const then = (act: () => unknown) => () => {
      lost ||= flows[direction] === 'drop'
      if (lost) return
      if (flows[direction] === 'hold') held.push(act)
      else act()
    }
    if (direction === 'requests')
      from.on(
        'end',
        then(() => to.end()),
      )
    from.on(
      'close',
      then(() => to.destroySoon()),
    )
  }
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = dial({ port: target, host: '127.0.0.1' })
    const pair = [client, upstream] as const
    pairs.add(pair)
    client.once('close', () => pairs.delete(pair))
    pump(client, upstream, 'requests')
    pump(upstream, client, 'answers')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const change = (direction: keyof typeof flows, flow: Flow) => {
    flows[direction] = flow
    if (flow === 'pass') for (const send of held.splice(0)) send()
  }

  return {
    port: address !== null && typeof address === 'object' ? address.port : 0,
    get requests() {
      return flows.requests
    },
    set requests(flow) {
      change('requests', flow)
    },
    get answers() {
      return flows.answers
    },
    set answers(flow) {
      change('answers', flow)
    },
    get requested() {
      return requested
    },
    cut() {
      for (const pair of pairs) for (const socket of pair) socket.resetAndDestroy()
    },
    halfClose() {
      for (const [client] of pairs) client.end()
    },
    async close() {
      for (const pair of pairs) for (const socket of pair) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
