import { randomBytes } from 'node:crypto'
import type {
  OAuthClientInformationMixed,
  OAuthClientMetadata,
  OAuthDiscoveryState,
  OAuthTokens,
} from '@modelcontextprotocol/client'
import { createFormBrowser, type FormBrowser } from './form-browser.ts'
import { type Person, type SignInOptions, signIn } from './sign-in.ts'

/** What an application keeps for one MCP server: enough of an OAuth client for both SDKs, which only asks a browser to be walked. */
export interface ApplicationState {
  client?: OAuthClientInformationMixed
  tokens?: OAuthTokens
  verifier?: string
  discovery?: OAuthDiscoveryState
  /** Of the authorization request under way. */
  authorizationUrl?: URL
  state?: string
}

export interface ApplicationOptions {
  readonly redirectUri?: string
  /** Over the usual registration of a public native client. */
  readonly metadata?: Partial<OAuthClientMetadata>
}

export function createApplication(options: ApplicationOptions = {}) {
  const redirectUrl = options.redirectUri ?? 'http://127.0.0.1:9/callback'
  const kept: ApplicationState = {}
  const clientMetadata: OAuthClientMetadata = {
    client_name: 'An application',
    redirect_uris: [redirectUrl],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
    ...options.metadata,
  }
  return {
    kept,
    redirectUrl,
    clientMetadata,
    state() {
      kept.state = randomBytes(16).toString('base64url')
      return kept.state
    },
    clientInformation: () => kept.client,
    saveClientInformation(client: OAuthClientInformationMixed) {
      kept.client = client
    },
    tokens: () => kept.tokens,
    saveTokens(tokens: OAuthTokens) {
      kept.tokens = tokens
    },
    redirectToAuthorization(url: URL) {
      kept.authorizationUrl = url
    },
    saveCodeVerifier(verifier: string) {
      kept.verifier = verifier
    },
    codeVerifier: () => kept.verifier ?? '',
    saveDiscoveryState(discovery: OAuthDiscoveryState) {
      kept.discovery = discovery
    },
    discoveryState: () => kept.discovery,
    invalidateCredentials(what: 'all' | 'client' | 'tokens' | 'verifier' | 'discovery') {
      if (what === 'all' || what === 'client') delete kept.client
      if (what === 'all' || what === 'tokens') delete kept.tokens
      if (what === 'all' || what === 'verifier') delete kept.verifier
      if (what === 'all' || what === 'discovery') delete kept.discovery
    },
  }
}

export type Application = ReturnType<typeof createApplication>

/** A browser that stops at this application's redirect URI. */
export const browserOf = (application: Application): FormBrowser =>
  createFormBrowser({ away: (url) => url.href.startsWith(`${application.redirectUrl}?`) })

let turn: Promise<unknown> = Promise.resolve()

/** Answers the authorization request that the application made; checks what every client should. */
export async function authorize(
  application: Application,
  browser: FormBrowser,
  person: Person,
  options: SignInOptions = {},
): Promise<URLSearchParams> {
  const request = application.kept.authorizationUrl
  if (request === undefined) throw new Error('the application did not ask for authorization')
  delete application.kept.authorizationUrl
  // One person does not type eight passwords at once; a server that checks them slowly would rightly refuse.
  const walk = turn.then(() => signIn(browser, request, person, options))
  turn = walk.catch(() => {})
  const answer = (await walk).end.searchParams
  if (answer.get('state') !== application.kept.state) throw new Error(`another state came back: ${answer.get('state')}`)
  return answer
}
