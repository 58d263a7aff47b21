import { createHash, randomBytes } from 'node:crypto'
import { createFormBrowser, type FormBrowser } from '../../tests/end-to-end/support/form-browser.ts'
import { type Person, signIn } from '../../tests/end-to-end/support/sign-in.ts'
import type { ServerProcess } from './server-process.ts'

export const REDIRECT_URI = 'http://127.0.0.1:9/callback'
/** To a web application consent is remembered, so that a browser gets code after code without a page. */
const WEB_REDIRECT_URI = 'https://app.example.com/callback'

export interface Tokens {
  readonly access_token: string
  readonly refresh_token: string
}

/** Registers a client and signs one person in on `devices` of it, through the real pages. */
export async function signInDevices(
  server: ServerProcess,
  devices: number,
): Promise<{ readonly clientId: string; readonly tokens: readonly Tokens[] }> {
  const origin = `http://localhost:${server.ready.port}`
  const person = { username: 'demo', password: randomBytes(12).toString('base64url') }
  await server.ask({ ...person, name: 'Demo User', email: 'demo@example.com' })

  const client = await register(`${origin}/register`)
  const browser = createFormBrowser({ away: (url) => url.href.startsWith(REDIRECT_URI) })
  const tokens: Tokens[] = []
  for (let device = 0; device < devices; device++) {
    const code = await authorize(browser, { origin, clientId: client, redirectUri: REDIRECT_URI, person })
    tokens.push(await redeem(server.ready.port, client, REDIRECT_URI, code))
  }
  return { clientId: client, tokens }
}

export interface Code {
  readonly code: string
  readonly verifier: string
}

interface Asked {
  /** Of the server. */
  readonly origin: string
  readonly clientId: string
  readonly redirectUri: string
  readonly person: Person
  readonly loginHint?: string
}

/** Somebody's way through the pages, from the client and back to it. */
export async function authorize(
  browser: FormBrowser,
  { origin, clientId, redirectUri, person, loginHint }: Asked,
): Promise<Code> {
  const verifier = randomBytes(32).toString('base64url')
  const request = new URLSearchParams({
    response_type: 'code',
    client_id: clientId,
    redirect_uri: redirectUri,
    scope: 'notes:read',
    resource: `${origin}/mcp`,
    state: randomBytes(8).toString('base64url'),
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...(loginHint === undefined ? {} : { login_hint: loginHint }),
  })
  const { end } = await signIn(browser, `${origin}/authorize?${request}`, person)
  return { code: end.searchParams.get('code') ?? '', verifier }
}

/** A client, and somebody who is signed in and allowed it once: what it asks for is granted again. */
export async function authorizer(server: ServerProcess) {
  const origin = `http://localhost:${server.ready.port}`
  const person = { username: 'demo', password: randomBytes(12).toString('base64url') }
  await server.ask({ ...person, name: 'Demo User', email: 'demo@example.com' })
  const clientId = await register(`${origin}/register`, WEB_REDIRECT_URI)
  let asked = 0
  const browser = createFormBrowser({
    away: (url) => url.href.startsWith(WEB_REDIRECT_URI),
    send(request) {
      asked += 1
      request.headers.set('x-forwarded-for', `10.${(asked >> 16) & 255}.${(asked >> 8) & 255}.${asked & 255}`)
      return fetch(request)
    },
  })
  const next = () => authorize(browser, { origin, clientId, redirectUri: WEB_REDIRECT_URI, person })
  return { clientId, redirectUri: WEB_REDIRECT_URI, next }
}

export async function redeem(
  port: number,
  clientId: string,
  redirectUri: string,
  { code, verifier }: Code,
  headers: Readonly<Record<string, string>> = {},
): Promise<Tokens> {
  const exchange = { grant_type: 'authorization_code', code, client_id: clientId }
  const body = new URLSearchParams({ ...exchange, redirect_uri: redirectUri, code_verifier: verifier })
  return json<Tokens>(await fetch(`http://localhost:${port}/token`, { method: 'POST', headers, body }))
}

/** A public client, by dynamic registration. */
export async function register(endpoint: string, redirectUri = REDIRECT_URI): Promise<string> {
  const metadata = {
    client_name: 'bench',
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
    application_type: redirectUri.startsWith('https:') ? 'web' : 'native',
  }
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(endpoint, { method: 'POST', headers, body: JSON.stringify(metadata) })
  return (await json<{ client_id: string }>(answer)).client_id
}

async function json<Body>(response: Response): Promise<Body> {
  const text = await response.text()
  if (!response.ok) throw new Error(`${response.url} answered ${response.status}: ${text}`)
  return JSON.parse(text) as Body
}
