import { Agent, request as httpRequest } from 'node:http'

export interface LoadRequest {
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface LoadResult {
  readonly seconds: number
  /** Milliseconds, one for each request. */
  readonly latencies: readonly number[]
}

/** One client on one connection: makes its next request from what it was answered before. */
export interface LoadClient {
  /** Where it connects to, where that is not the first node. */
  readonly port?: number
  next(): LoadRequest
  /** @throws {Error} if the answer is not what was asked for: a fast refusal must not count */
  accept(status: number, body: string): void
}

/** Sends `total` requests, each client one at a time over a connection that is kept. */
export async function load(port: number, clients: readonly LoadClient[], total: number): Promise<LoadResult> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients.length })
  const latencies: number[] = []
  let left = total
  const begin = performance.now()
  await Promise.all(
    clients.map(async (client) => {
      while (left > 0) {
        left -= 1
        const start = performance.now()
        const { status, body } = await send(agent, port, client.port ?? port, client.next())
        latencies.push(performance.now() - start)
        client.accept(status, body)
      }
    }),
  )
  agent.destroy()
  return { seconds: (performance.now() - begin) / 1000, latencies }
}

/** One request, answered whole. */
export function send(
  agent: Agent,
  issuer: number,
  port: number,
  { path, headers, body }: LoadRequest,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(
      {
        agent,
        host: '127.0.0.1',
        port,
        path,
        method: 'POST',
        headers: { host: `localhost:${issuer}`, ...headers, 'content-length': Buffer.byteLength(body) },
      },
      (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk
        })
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }))
        response.on('error', reject)
      },
    )
    sent.on('error', reject)
    sent.end(body)
  })
}
