/** The least that a token endpoint does: reads the form, signs a JWT and answers. Nobody is authenticated, nothing is looked up. */

import { generateKeyPairSync, sign } from 'node:crypto'
import { createServer } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { listen, report } from '../harness/measured.ts'

const server = createServer()
const port = await listen(server)
const issuer = `http://localhost:${port}`
const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

const app = new Hono()
app.post('/token', async ({ req }) => {
  const scope = new URLSearchParams(await req.raw.text()).get('scope')
  const now = Math.floor(Date.now() / 1000)
  const claims = {
    iss: issuer,
    sub: 'machine',
    client_id: 'machine',
    aud: `${issuer}/mcp`,
    scope,
    iat: now,
    exp: now + 600,
  }
  const input = `${encode({ alg: 'ES256', kid: 'one', typ: 'at+jwt' })}.${encode({ ...claims, jti: crypto.randomUUID() })}`
  const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
  const token = `${input}.${signature.toString('base64url')}`
  return Response.json({ access_token: token, token_type: 'Bearer', expires_in: 600, scope })
})
server.on('request', getRequestListener(app.fetch))
report(port)
