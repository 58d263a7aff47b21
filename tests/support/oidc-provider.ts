import { fileURLToPath } from 'node:url'
import { freePort } from './free-port.ts'
import { type RunningProcess, startProcess } from './process.ts'

export interface OidcProviderOptions {
  /** Default: a free one. */
  readonly port?: number
  /** Default: `countersign`. */
  readonly clientId?: string
  /** Default: one with characters that must be encoded. */
  readonly clientSecret?: string
  /** Default: `client_secret_basic`. */
  readonly clientAuthentication?: 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt' | 'none'
  /** The public keys of the client, for `private_key_jwt`. */
  readonly clientKeys?: readonly object[]
  /** Whether each refresh brings a new refresh token, and the old one is of no use any more. Default: true. */
  readonly rotate?: boolean
  /** Default: true. */
  readonly refreshTokens?: boolean
  /** Default: true. */
  readonly idTokenOnRefresh?: boolean
  /** Where the claims of scopes are: in both (default), or in userinfo only. */
  readonly claimsIn?: 'both' | 'userinfo'
  /** Userinfo is a JWT. Default: false. */
  readonly signedUserinfo?: boolean
  /** Subjects are another one for each client: `pair-of-sub-` and the login. Default: false. */
  readonly pairwise?: boolean
  /** Seconds. Default: 3600. */
  readonly accessTokenLifetime?: number
  /** Seconds. Default: 3600. */
  readonly idTokenLifetime?: number
  /** Where it tells of logouts, with the `sid` of the session there. */
  readonly logoutUri?: string
  /** Login to claims, over those that everybody has. */
  readonly accounts?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

export interface OidcProviderControl {
  /** At the token endpoint: as it should be; 503; `invalid_client`; do what is asked and break the connection; say nothing until the next change. */
  readonly mode?: 'normal' | 'error' | 'invalid_client' | 'lose' | 'hang'
  /** Milliseconds that the token endpoint takes. */
  readonly delay?: number
  /** What the token endpoint did is answered only when this is false again. */
  readonly hold?: boolean
  /** Whether it can be reached at all; what it knows stays. */
  readonly listen?: boolean
  readonly claims?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** Logins that an administrator has disabled: refreshes are refused, and userinfo. */
  readonly disabled?: readonly string[]
}

export interface OidcProvider {
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  readonly process: RunningProcess
  control(change: OidcProviderControl): Promise<void>
  /** What was asked of it so far: the token endpoint by grant type, the others by `oidc-provider`'s names of routes. */
  requests(): Promise<Readonly<Record<string, number>>>
  stop(): Promise<void>
}

/** The subject of whoever signs in with this login. */
export const oidcSubject = (login: string): string => `sub-${login}`

/**
 * Starts `oidc-provider` in a process of its own. Anybody may sign in, with any login and password; every loopback redirect URI is allowed.
 * Subjects are `sub-` and the login; scopes: `openid profile email groups offline_access`, claims `name`, `preferred_username`, `picture`,
 * `email`, `email_verified`, `groups`, `roles`.
 */
export const startOidcProvider = async (options: OidcProviderOptions = {}): Promise<OidcProvider> => {
  const settings = {
    clientId: 'countersign',
    clientSecret: 'a secret: with +/=%& in it',
    clientAuthentication: 'client_secret_basic',
    rotate: true,
    refreshTokens: true,
    idTokenOnRefresh: true,
    claimsIn: 'both',
    accessTokenLifetime: 3600,
    idTokenLifetime: 3600,
    ...options,
    port: options.port ?? (await freePort()),
  }
  const script = fileURLToPath(new URL('oidc-provider-process.mjs', import.meta.url))
  const child = startProcess(process.execPath, [script], { env: { OIDC_PROVIDER: JSON.stringify(settings) } })
  const issuer = (await child.line(/^issuer (\S+)$/))[1] ?? ''
  const answers = () => child.stdout.split('\n').filter((line) => line === 'done').length
  let commands: Promise<void> = Promise.resolve()
  const command = async (change: OidcProviderControl): Promise<void> => {
    const before = answers()
    child.write(`${JSON.stringify(change)}\n`)
    while (answers() === before) await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return {
    issuer,
    clientId: settings.clientId,
    clientSecret: settings.clientSecret,
    process: child,
    control: (change) => {
      commands = commands.then(() => command(change))
      return commands
    },
    requests: async () => (await (await fetch(`${issuer}/test/requests`)).json()) as Record<string, number>,
    async stop() {
      await child.stop()
    },
  }
}

/** A browser's cookies, for one site. */
export class CookieJar {
  readonly #cookies = new Map<string, string>()

  get header(): string {
    return [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  }

  take(response: Response): void {
    for (const cookie of response.headers.getSetCookie()) {
      const [pair = '', ...attributes] = cookie.split(';')
      const at = pair.indexOf('=')
      const name = pair.slice(0, at).trim()
      const ended = attributes.some((one) => /^\s*expires=.*1970/i.test(one))
      if (ended) this.#cookies.delete(name)
      else this.#cookies.set(name, pair.slice(at + 1).trim())
    }
  }
}

/** Signs out of the provider, as the person in whose browser these cookies are. */
export const signOutAt = async ({ issuer }: OidcProvider, jar: CookieJar): Promise<void> => {
  const asked = await fetch(`${issuer}/session/end`, { headers: { cookie: jar.header } })
  jar.take(asked)
  const [, xsrf = ''] = /name="xsrf" value="([^"]+)"/.exec(await asked.text()) ?? []
  const answer = await fetch(`${issuer}/session/end/confirm`, {
    method: 'POST',
    redirect: 'manual',
    headers: { cookie: jar.header },
    body: new URLSearchParams({ xsrf, logout: 'yes' }),
  })
  if (answer.status >= 400) throw new Error(`the provider answered ${answer.status}: ${await answer.text()}`)
}

export interface SignInOptions {
  /** Default: `alice`. */
  readonly login?: string
  /** Say no on the provider's consent page. */
  readonly deny?: boolean
  /** The provider's cookies, to be somebody who was there before. */
  readonly jar?: CookieJar
}

/**
 * Walks the provider's pages as a browser without script would, from an authorization request's URL to the first redirect that leaves the
 * provider, and answers where that leads: the callback, with its code or its error.
 */
export const signInAt = async (
  url: string,
  { login = 'alice', deny = false, jar = new CookieJar() }: SignInOptions = {},
): Promise<string> => {
  const { origin } = new URL(url)
  let next: { url: string; form?: URLSearchParams } = { url }
  for (let step = 0; step < 20; step++) {
    const response = await fetch(next.url, {
      redirect: 'manual',
      headers: { cookie: jar.header },
      ...(next.form ? { method: 'POST', body: next.form } : {}),
    })
    jar.take(response)
    const location = response.headers.get('location')
    if (location !== null) {
      const target = new URL(location, next.url)
      if (target.origin !== origin || target.pathname.includes('/callback')) return target.href
      next = { url: target.href }
      continue
    }
    const text = await response.text()
    const action = /<form [^>]*action="([^"]+)"/.exec(text)?.[1]
    if (response.status !== 200 || action === undefined) {
      throw new Error(`the provider answered ${response.status} at ${next.url}: ${text.slice(0, 500)}`)
    }
    const form: Record<string, string> = {}
    // A change of person there goes over a form that a script submits.
    for (const [, name = '', value = ''] of text.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)) {
      form[name] = value
    }
    if (text.includes('name="login"')) Object.assign(form, { login, password: 'any', step: 'login' })
    if (text.includes('value="allow"')) form.step = deny ? 'deny' : 'allow'
    next = { url: new URL(action, next.url).href, form: new URLSearchParams(form) }
  }
  throw new Error('the provider’s pages lead nowhere')
}
