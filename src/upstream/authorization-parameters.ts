import type { BeginRequest } from './provider.ts'

const ownParameters = new Set([
  ...['client_id', 'response_type', 'response_mode', 'redirect_uri', 'scope', 'state', 'nonce'],
  ...['code_challenge', 'code_challenge_method', 'request', 'request_uri'],
])

/** @throws TypeError for one that is decided here, and so can't be configured */
export const checkParameters = (
  provider: string,
  configured: Readonly<Record<string, string | undefined>> = {},
): void => {
  for (const name of Object.keys(configured)) {
    if (ownParameters.has(name)) throw new TypeError(`${provider}: authorizationParameters can't set ${name}`)
  }
}

const loopbackHosts = new Set(['localhost', '127.0.0.1', '[::1]'])

/** @throws TypeError for what is neither https nor on loopback */
export const checkedUrl = (provider: string, name: string, value: string): URL => {
  if (!URL.canParse(value)) throw new TypeError(`${provider}: ${name} must be a URL`)
  const url = new URL(value)
  if (url.protocol === 'https:' || (url.protocol === 'http:' && loopbackHosts.has(url.hostname))) return url
  throw new TypeError(`${provider}: ${name} must be an https URL; http is allowed on loopback only`)
}

/** What is asked of a provider, apart from what binds its answer to the request. */
export const authorizationParameters = (
  configured: Readonly<Record<string, string>>,
  scopes: readonly string[],
  request: BeginRequest,
): Record<string, string> => {
  const prompts = new Set((configured.prompt ?? '').split(' ').filter(Boolean))
  if (request.reauthenticate) prompts.add('login')
  if (request.selectAccount) prompts.add('select_account')
  return {
    ...configured,
    ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }),
    redirect_uri: request.redirectUri,
    state: request.state,
    ...(prompts.size === 0 ? {} : { prompt: [...prompts].join(' ') }),
    ...maxAgeOf(request),
    ...(request.loginHint === undefined ? {} : { login_hint: request.loginHint }),
  }
}

/**
 * `prompt=login` alone proves nothing: it can be taken out of the URL on its way through the browser, and the answer looks the same. With
 * `max_age` the provider must say when the person authenticated. @see OpenID Connect Core 1.0 §3.1.2.1
 */
const maxAgeOf = ({ maxAge, reauthenticate }: BeginRequest): Record<string, string> => {
  const asked = maxAge ?? (reauthenticate ? 0 : undefined)
  return asked === undefined ? {} : { max_age: String(asked) }
}
