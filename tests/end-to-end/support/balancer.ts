import { createServer, type IncomingMessage, request as send } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Spreads requests evenly over nodes, as they come, and passes by those that can't be reached. A header `x-node` chooses one. */
export interface Balancer {
  readonly origin: string
  readonly port: number
  /** Ports on this machine. */
  readonly nodes: number[]
  close(): Promise<void>
}

export async function startBalancer(): Promise<Balancer> {
  const nodes: number[] = []
  let next = 0

  const server = createServer(async (incoming, outgoing) => {
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk as Buffer)
    const chosen = incoming.headers['x-node']
    for (let attempt = 0; attempt < nodes.length; attempt++) {
      const port = nodes[(chosen === undefined ? next++ : Number(chosen)) % nodes.length] ?? 0
      try {
        const answer = await forward(incoming, Buffer.concat(chunks), port)
        outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
        answer.pipe(outgoing)
        return
      } catch {
        // The next node, then.
      }
    }
    outgoing.writeHead(502).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    origin: `http://localhost:${port}`,
    port,
    nodes,
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

function forward({ method, url, rawHeaders }: IncomingMessage, body: Buffer, port: number): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    // Its own headers as they were, `Host` included: nodes know themselves by the public address.
    const options = { host: '127.0.0.1', port, method, path: url, headers: rawHeaders, agent: false as const }
    send(options, resolve).on('error', reject).end(body)
  })
}
