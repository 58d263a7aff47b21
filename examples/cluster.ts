import { once } from 'node:events'
import { createServer } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { prometheus } from 'countersign/prometheus'
import { postgres } from 'countersign/store/postgres'
import { redis } from 'countersign/store/redis'
import { openid } from 'countersign/upstream/openid'
import { notesServer } from './notes.ts'

// One of several nodes behind a load balancer: all that differs between deployments is in the environment. See deploy/.

const { DATABASE_URL, REDIS_URL, HOST = '0.0.0.0', PORT = '8787', METRICS_PORT = '9464', NOTICE = '5000' } = process.env

const needed = (name: string): string => {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is needed`)
  return value
}

const metrics = prometheus()
// The newest secret first; the others still open what they sealed.
const [secret = '', ...older] = needed('COUNTERSIGN_SECRET').trim().split(/\s+/)
const { app, auth } = notesServer({
  url: needed('COUNTERSIGN_URL'),
  secret: [secret, ...older],
  store: REDIS_URL ? redis(REDIS_URL) : postgres(DATABASE_URL ?? needed('DATABASE_URL')),
  upstream: openid({
    issuer: needed('OIDC_ISSUER'),
    clientId: needed('OIDC_CLIENT_ID'),
    clientSecret: needed('OIDC_CLIENT_SECRET'),
  }),
  trustedProxies: needed('TRUSTED_PROXIES').split(','),
  telemetry: metrics,
})

const server = createServer(getRequestListener(app.fetch))
server.listen(Number(PORT), HOST)
await once(server, 'listening')
// Not through the load balancer: what is measured is nobody's business.
const measured = createServer((_, response) => {
  response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(metrics.text())
})
measured.listen(Number(METRICS_PORT), HOST)
await once(measured, 'listening')
console.log('listening', server.address(), measured.address())

const stop = async () => {
  // The load balancer hears by /readyz that this node leaves; when it takes no more, new connections find another.
  setTimeout(() => server.close(), Number(NOTICE))
  await auth.close({ notice: Number(NOTICE), within: 20_000 })
  measured.close()
  for (const each of [server, measured]) each.closeAllConnections()
  process.exit(0)
}
process.once('SIGTERM', stop)
process.once('SIGINT', stop)
