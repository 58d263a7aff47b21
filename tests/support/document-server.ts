import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { JsonObject } from '../../src/identity/json.ts'
import type { Certificates } from './certificates.ts'

export interface DocumentServer {
  readonly origin: string
  /** The requests so far, as path and validator. */
  readonly requests: { readonly path: string; readonly ifNoneMatch: string | undefined }[]
  /** What is answered; by default each path's document. */
  answer: (request: IncomingMessage, response: ServerResponse) => void
  /** Sent with documents. */
  headers: Record<string, string>
  /** What documents say besides what they must. */
  metadata: JsonObject
  /** The port stays taken, and nobody answers there. */
  setDown(down: boolean): void
  stop(): Promise<void>
}

/**
 * A web server on loopback whose every path is the metadata document of a client.
 * @param certificates for `localhost`; without them it is plain
 */
export async function documentServer(certificates?: Certificates): Promise<DocumentServer> {
  const requests: DocumentServer['requests'] = []
  let down = false
  const listener: RequestListener = (request, response) => {
    requests.push({ path: request.url ?? '', ifNoneMatch: request.headers['if-none-match'] })
    if (down) request.socket.destroy()
    else self.answer(request, response)
  }
  const server = certificates
    ? createSecureServer({ key: certificates.key, cert: certificates.certificate }, listener)
    : createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const origin = certificates ? `https://localhost:${port}` : `http://127.0.0.1:${port}`
  const self: DocumentServer = {
    origin,
    requests,
    headers: {},
    metadata: {},
    answer(request, response) {
      const document = {
        client_id: `${origin}${request.url}`,
        client_name: 'Published App',
        redirect_uris: ['https://app.example.net/callback', 'http://127.0.0.1/callback'],
        ...self.metadata,
      }
      response.writeHead(200, { 'Content-Type': 'application/json', ...self.headers }).end(JSON.stringify(document))
    },
    setDown(value) {
      down = value
    },
    async stop() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return self
}
