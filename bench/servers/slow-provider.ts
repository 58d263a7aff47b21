/**
 * An OpenID Provider that takes its time, and notes when it was asked about whom: everybody is who `login_hint` says, at once. A stand-in, so that
 * it costs next to nothing itself on the machine that it shares with what is measured.
 */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { listen, report } from '../harness/measured.ts'

/** When the provider was asked to renew somebody's tokens, and when it answered. Milliseconds since the epoch. */
export interface Check {
  readonly clientId: string
  readonly person: string
  readonly from: number
  readonly until: number
}

// A connection that is closed just as it is used again would be no figure.
const server = createServer({ keepAliveTimeout: 600_000 })
const port = await listen(server)
const issuer = `http://127.0.0.1:${port}`
const { privateKey, publicKey } = await generateKeyPair('ES256')
const jwk = { ...(await exportJWK(publicKey)), kid: 'key-1', alg: 'ES256', use: 'sig' }

/** What a code or a refresh token stands for. */
const given = new Map<string, { readonly person: string; readonly nonce?: string }>()
const checks: Check[] = []
let delay = 0

const metadata = {
  issuer,
  authorization_endpoint: `${issuer}/authorize`,
  token_endpoint: `${issuer}/token`,
  jwks_uri: `${issuer}/keys`,
  response_types_supported: ['code'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['ES256'],
}

const tokens = async (form: URLSearchParams) => {
  const from = Date.now()
  const clientId = form.get('client_id') ?? ''
  const presented = form.get('code') ?? form.get('refresh_token') ?? ''
  const { person, nonce } = given.get(presented) ?? {}
  if (delay > 0) await wait(delay)
  if (person === undefined) return undefined
  // It does not rotate: an answer that is lost on a busy machine must not end the sign-in.
  const refreshToken = form.get('refresh_token') ?? randomUUID()
  given.set(refreshToken, { person })
  const idToken = await new SignJWT({ name: person, ...(nonce === undefined ? {} : { nonce }) })
    .setProtectedHeader({ alg: 'ES256', kid: 'key-1' })
    .setIssuer(issuer)
    .setSubject(person)
    .setAudience(clientId)
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(privateKey)
  if (form.has('refresh_token')) checks.push({ clientId, person, from, until: Date.now() })
  const bearer = { access_token: randomUUID(), token_type: 'Bearer', expires_in: 3_600 }
  return { ...bearer, refresh_token: refreshToken, id_token: idToken }
}

server.on('request', async (request, response) => {
  const json = (body: unknown, status = 200) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  const { pathname, searchParams } = new URL(request.url ?? '/', issuer)
  if (pathname === '/.well-known/openid-configuration') return json(metadata)
  if (pathname === '/keys') return json({ keys: [jwk] })
  if (pathname === '/token') {
    const answer = await tokens(new URLSearchParams(await text(request)))
    return answer ? json(answer) : json({ error: 'invalid_grant' }, 400)
  }
  if (pathname !== '/authorize') return json({}, 404)
  const code = randomUUID()
  given.set(code, { person: searchParams.get('login_hint') ?? 'nobody', nonce: searchParams.get('nonce') ?? '' })
  const back = new URL(searchParams.get('redirect_uri') ?? '')
  back.searchParams.set('code', code)
  back.searchParams.set('state', searchParams.get('state') ?? '')
  return response.writeHead(302, { location: back.href }).end()
})

report(port, undefined, async (question) => {
  const asked = question as { delay: number } | 'checks'
  if (asked !== 'checks') delay = asked.delay
  return checks
})
