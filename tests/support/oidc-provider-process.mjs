/**
 * A real OpenID Provider in a process of its own: `oidc-provider`, configured by the JSON in `OIDC_PROVIDER`, commanded by lines of JSON on
 * stdin (each is answered by `done` on stdout). Its pages are plain forms. See oidc-provider.ts for what can be set.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import { exportJWK, generateKeyPair } from 'jose'
import Provider from 'oidc-provider'

const settings = JSON.parse(process.env.OIDC_PROVIDER ?? '{}')
const state = { mode: 'normal', delay: 0, disabled: [], claims: settings.accounts ?? {} }
const requests = {}
/** What lets go on who waits until nothing is held any more. */
const held = []
const count = (what) => {
  requests[what] = (requests[what] ?? 0) + 1
}

// See connections.setup.ts.
const server = createServer({ keepAliveTimeout: 600_000 })
server.listen(settings.port ?? 0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address()
const issuer = `http://127.0.0.1:${port}`

const privateJwk = async (algorithm, kid) => {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true })
  return { ...(await exportJWK(privateKey)), kid, alg: algorithm, use: 'sig' }
}

const claimsOf = (login) => ({
  name: `${login[0].toUpperCase()}${login.slice(1)} Example`,
  preferred_username: login,
  picture: `https://pictures.example.com/${login}.png`,
  email: `${login}@example.com`,
  email_verified: true,
  groups: ['people', `team-${login}`],
  roles: ['reader'],
  ...state.claims[login],
})

// The provider's own memory forgets what it knew before the last thousand entries.
const kept = new Map()
const grantMembers = new Map()
class Adapter {
  constructor(model) {
    this.prefix = `${model}:`
  }
  async upsert(id, payload) {
    const key = this.prefix + id
    kept.set(key, payload)
    if (payload.uid) kept.set(`${this.prefix}uid:${payload.uid}`, payload)
    if (payload.grantId) grantMembers.set(payload.grantId, [...(grantMembers.get(payload.grantId) ?? []), key])
  }
  async find(id) {
    return kept.get(this.prefix + id)
  }
  findByUid(uid) {
    return this.find(`uid:${uid}`)
  }
  async consume(id) {
    kept.get(this.prefix + id).consumed = Math.floor(Date.now() / 1000)
  }
  async destroy(id) {
    const payload = kept.get(this.prefix + id)
    if (payload?.uid) kept.delete(`${this.prefix}uid:${payload.uid}`)
    kept.delete(this.prefix + id)
  }
  async revokeByGrantId(grantId) {
    for (const key of grantMembers.get(grantId) ?? []) kept.delete(key)
    grantMembers.delete(grantId)
  }
}

const isLoopback = (uri) => URL.canParse(uri) && ['127.0.0.1', 'localhost', '[::1]'].includes(new URL(uri).hostname)

const provider = new Provider(issuer, {
  adapter: Adapter,
  clients: [
    {
      client_id: settings.clientId,
      ...(settings.clientSecret ? { client_secret: settings.clientSecret } : {}),
      token_endpoint_auth_method: settings.clientAuthentication,
      ...(settings.signedUserinfo ? { userinfo_signed_response_alg: 'RS256' } : {}),
      ...(settings.pairwise ? { subject_type: 'pairwise' } : {}),
      ...(settings.clientKeys ? { jwks: { keys: settings.clientKeys } } : {}),
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      redirect_uris: ['http://127.0.0.1:1/callback'],
      ...(settings.logoutUri
        ? { backchannel_logout_uri: settings.logoutUri, backchannel_logout_session_required: true }
        : {}),
    },
  ],
  jwks: { keys: [await privateJwk('RS256', 'rsa-1')] },
  cookies: { keys: ['cookie key of a provider for tests'] },
  scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
  claims: {
    openid: ['sub'],
    profile: ['name', 'preferred_username', 'picture', 'department'],
    email: ['email', 'email_verified'],
    groups: ['groups', 'roles'],
  },
  conformIdTokenClaims: settings.claimsIn === 'userinfo',
  subjectTypes: settings.pairwise ? ['public', 'pairwise'] : ['public'],
  pairwiseIdentifier: async (_context, accountId) => `pair-of-${accountId}`,
  pkce: { required: () => true },
  rotateRefreshToken: settings.rotate,
  issueRefreshToken: async () => settings.refreshTokens,
  expiresWithSession: async () => false,
  ttl: {
    AccessToken: settings.accessTokenLifetime,
    IdToken: settings.idTokenLifetime,
    RefreshToken: 86_400,
    Grant: 86_400,
    Session: 86_400,
    Interaction: 3_600,
  },
  features: {
    devInteractions: { enabled: false },
    revocation: { enabled: true },
    introspection: { enabled: true },
    backchannelLogout: { enabled: true },
    jwtUserinfo: { enabled: true },
  },
  // Its own guard lets nothing reach this computer, where the tests' servers are.
  fetch: (url, { dispatcher: _guarded, ...options }) => fetch(url, options),
  findAccount: (_context, login) =>
    state.disabled.includes(login.replace(/^sub-/, ''))
      ? undefined
      : { accountId: login, claims: async () => ({ sub: login, ...claimsOf(login.replace(/^sub-/, '')) }) },
  interactions: { url: (_context, { uid }) => `/interaction/${uid}` },
})

// The tests' servers take free ports.
provider.Client.prototype.redirectUriAllowed = isLoopback

provider.use(async (context, next) => {
  const token = context.path === '/token'
  if (token && state.mode === 'error') {
    count('failed')
    context.status = 503
    context.body = 'down for maintenance at 10.0.0.7'
    return
  }
  // Nothing is done, and nobody hears of it until it is told to go on.
  if (token && state.mode === 'hang') {
    count('hung')
    await new Promise((resolve) => held.push(resolve))
    context.status = 503
    return
  }
  if (token && state.mode === 'invalid_client') {
    count('refused')
    context.status = 401
    context.body = { error: 'invalid_client', error_description: 'unknown client at 10.0.0.7' }
    return
  }
  await next()
  count(token ? (context.oidc?.params?.grant_type ?? 'token') : (context.oidc?.route ?? context.path))
  if (!token) return
  if (state.delay > 0) await new Promise((resolve) => setTimeout(resolve, state.delay))
  if (state.hold) await new Promise((resolve) => held.push(resolve))
  if (settings.idTokenOnRefresh === false && context.oidc?.params?.grant_type === 'refresh_token') {
    const { id_token: _left, ...rest } = context.body
    context.body = rest
  }
  // What was asked was done, and nobody will hear of it.
  if (state.mode === 'lose') {
    context.respond = false
    context.req.socket.destroy()
  }
})

const page = (response, title, form) => {
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' })
  response.end(`<!doctype html><html lang="en"><title>${title}</title><h1>${title}</h1>${form}</html>`)
}

const readForm = async (request) => {
  let body = ''
  for await (const chunk of request) body += chunk
  return new URLSearchParams(body)
}

const interact = async (request, response) => {
  const { uid, prompt, params, session, grantId } = await provider.interactionDetails(request, response)
  if (request.method === 'GET') {
    const action = `action="/interaction/${uid}" method="post"`
    if (prompt.name === 'login') {
      const hint = String(params.login_hint ?? '').replaceAll(/[^\w.@-]/g, '')
      return page(
        response,
        'Sign in at the provider',
        `<form ${action}><input name="login" value="${hint}"><input name="password" type="password"><button name="step" value="login">Sign in</button></form>`,
      )
    }
    return page(
      response,
      'Allow access',
      `<form ${action}><button name="step" value="allow">Allow</button><button name="step" value="deny">Deny</button></form>`,
    )
  }
  const form = await readForm(request)
  const finish = (result) =>
    provider.interactionFinished(request, response, result, { mergeWithLastSubmission: result.error === undefined })
  if (form.get('step') === 'deny') return finish({ error: 'access_denied', error_description: 'the person said no' })
  if (form.get('step') === 'login') return finish({ login: { accountId: `sub-${form.get('login')}` } })
  const known = grantId && (await provider.Grant.find(grantId))
  const grant = known || new provider.Grant({ accountId: session.accountId, clientId: params.client_id })
  grant.addOIDCScope(params.scope)
  if (prompt.details.missingOIDCClaims) grant.addOIDCClaims(prompt.details.missingOIDCClaims)
  return finish({ consent: { grantId: await grant.save() } })
}

const callback = provider.callback()
server.on('request', (request, response) => {
  if (request.url === '/test/requests') {
    response.writeHead(200, { 'content-type': 'application/json' })
    return response.end(JSON.stringify(requests))
  }
  if (!request.url.startsWith('/interaction/')) return callback(request, response)
  interact(request, response).catch((error) => {
    response.writeHead(400, { 'content-type': 'text/plain' })
    response.end(String(error))
  })
})

createInterface({ input: process.stdin }).on('line', async (line) => {
  const { listen, ...changes } = JSON.parse(line)
  Object.assign(state, changes)
  if (!state.hold) for (const answer of held.splice(0)) answer()
  if (listen === false && server.listening) {
    server.close()
    server.closeAllConnections()
  }
  if (listen === true && !server.listening) {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
  console.log('done')
})
process.once('SIGTERM', () => process.exit(0))
console.log(`issuer ${issuer}`)
