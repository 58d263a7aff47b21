import { auth, extractWWWAuthenticateParams, type OAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type {
  OAuthClientInformationMixed,
  OAuthClientMetadata,
  OAuthTokens,
} from '@modelcontextprotocol/sdk/shared/auth.js'

/** Takes an authorization request to its end; answers the code that came back. */
export type Authorize = (request: URL) => Promise<string>

interface ClientOptions {
  readonly authorize: Authorize
  /** Who it is where its description can be read; registers itself elsewhere. */
  readonly metadataUrl?: string
  /** What it was given beforehand. */
  readonly known?: OAuthClientInformationMixed
  /** What it registers for, where it says so. */
  readonly grantTypes?: string[]
}

const redirectUrl = 'http://localhost:3000/callback'

/** What a client that knows nothing of a server keeps about it. */
const keep = ({ authorize, metadataUrl, known, grantTypes }: ClientOptions) => {
  let client = known
  let tokens: OAuthTokens | undefined
  let verifier = ''
  let code = ''
  let widening = false
  const provider: OAuthClientProvider = {
    redirectUrl,
    ...(metadataUrl !== undefined && { clientMetadataUrl: metadataUrl }),
    clientMetadata: {
      client_name: 'A well-behaved client',
      redirect_uris: [redirectUrl],
      application_type: 'native',
      ...(grantTypes && { grant_types: grantTypes }),
    } as OAuthClientMetadata,
    clientInformation: () => client,
    saveClientInformation(information) {
      client = information
    },
    tokens() {
      if (!widening || !tokens) return tokens
      // A refresh widens nothing (RFC 6749 §6), and the SDK's functions would try it first.
      const { refresh_token: _, ...others } = tokens
      return others
    },
    saveTokens(saved) {
      tokens = saved
    },
    saveCodeVerifier(saved) {
      verifier = saved
    },
    codeVerifier: () => verifier,
    async redirectToAuthorization(url) {
      code = await authorize(url)
    },
  }
  return {
    provider,
    tokens: () => tokens,
    code: () => code,
    async whileWidening(step: () => Promise<void>) {
      widening = true
      await step().finally(() => {
        widening = false
      })
    },
  }
}

/**
 * A client that does what the specification asks of clients at a challenge, on the official SDK's functions: it asks for what it has and what the
 * challenge says, once a request, at 401 and at 403 alike.
 * @see MCP 2026-07-28, authorization, scope challenge handling
 */
export const createWellBehavedClient = (url: string, options: ClientOptions) => {
  const { provider, tokens, code, whileWidening } = keep(options)

  const send = async (input: string | URL, init: RequestInit | undefined): Promise<Response> => {
    const headers = new Headers(init?.headers)
    const kept = tokens()
    if (kept) headers.set('Authorization', `Bearer ${kept.access_token}`)
    return fetch(input, { ...init, headers })
  }

  const obey = async (response: Response): Promise<void> => {
    const { resourceMetadataUrl, scope } = extractWWWAuthenticateParams(response)
    const scopes = new Set([tokens()?.scope, scope].flatMap((each) => each?.split(' ') ?? []))
    const request = {
      serverUrl: url,
      ...(resourceMetadataUrl && { resourceMetadataUrl }),
      ...(scopes.size > 0 && { scope: [...scopes].join(' ') }),
    }
    if ((await auth(provider, request)) === 'AUTHORIZED') return
    await auth(provider, { ...request, authorizationCode: code() })
  }

  const transport = new StreamableHTTPClientTransport(new URL(url), {
    async fetch(input, init) {
      const response = await send(input, init)
      if (response.status !== 401 && response.status !== 403) return response
      if (response.status === 401) await obey(response)
      else await whileWidening(() => obey(response))
      const again = await send(input, init)
      if (again.status === 401 || again.status === 403) throw new Error(`refused again: ${again.status}`)
      return again
    },
  })
  const client = new Client({ name: 'well-behaved', version: '1.0.0' })
  return {
    client,
    tokens,
    // The SDK's own declarations don't hold under exactOptionalPropertyTypes.
    connect: () => client.connect(transport as Parameters<Client['connect']>[0]),
  }
}
