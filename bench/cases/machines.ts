import { signInDevices, type Tokens } from '../harness/countersign-sign-in.ts'
import { dataFolder } from '../harness/data-folder.ts'
import type { Variant } from '../harness/rounds.ts'
import { startServer } from '../harness/server-process.ts'
import { AGENT, basic, MACHINE, RESOURCE_SERVER } from '../servers/clients.ts'
import { connections, forms, isJwt } from './connections.ts'

const TOKENS = 256

const countersign = () => startServer('countersign', { BENCH_DATA: dataFolder(), BENCH_CLIENTS: '1' })
const peer = (env = {}) => startServer('oidc-provider', { BENCH_DATA: dataFolder(), NODE_NO_WARNINGS: '1', ...env })

export const clientCredentialsOf = () => {
  const form = { grant_type: 'client_credentials', scope: 'notes:read' }
  return connections(() =>
    forms(
      '/token',
      basic(MACHINE),
      () => form,
      (answer) => isJwt(answer.access_token),
    ),
  )
}

/** A client gets an access token for itself. The floor reads the form, signs and answers: what is left for all that an authorization server decides. */
export const clientCredentials: readonly Variant[] = [
  { name: 'countersign', start: async () => ({ server: await countersign(), clients: clientCredentialsOf() }) },
  { name: 'oidc-provider', start: async () => ({ server: await peer(), clients: clientCredentialsOf() }) },
  { name: 'the floor', start: async () => ({ server: await startServer('floor'), clients: clientCredentialsOf() }) },
]

/** Each of many tokens in turn. */
const turns = (tokens: readonly string[]): (() => string) => {
  let index = 0
  return () => {
    index += 1
    return tokens[index % tokens.length] ?? ''
  }
}

const introspecting = (tokens: readonly string[]) => {
  const next = turns(tokens)
  const form = () => ({ token: next(), token_type_hint: 'access_token' })
  const fits = (answer: Readonly<Record<string, unknown>>) => answer.active === true && answer.scope === 'notes:read'
  return connections(() => forms('/token/introspection', basic(RESOURCE_SERVER), form, fits))
}

const accessTokens = (tokens: readonly Tokens[]) => tokens.map((each) => each.access_token)

/** A resource server asks what people's access tokens say. Countersign's are JWTs, and its answer has the person's claims; the peer's are opaque. */
export const introspection: readonly Variant[] = [
  {
    name: 'countersign',
    async start() {
      const server = await countersign()
      const { tokens } = await signInDevices(server, TOKENS)
      const clients = introspecting(accessTokens(tokens))
      // The same form, at another place.
      const moved = clients.map((each) => ({ ...each, next: () => ({ ...each.next(), path: '/introspect' }) }))
      return { server, clients: moved }
    },
  },
  {
    name: 'oidc-provider',
    async start() {
      const server = await peer({ BENCH_OPAQUE: '1' })
      const tokens: string[] = []
      while (tokens.length < TOKENS) {
        tokens.push(await server.ask<string>({ want: 'access token', clientId: MACHINE, scope: 'notes:read' }))
      }
      return { server, clients: introspecting(tokens) }
    },
  },
]

/** An agent exchanges people's access tokens for its own. The peer can't; a client's own token is what it is compared with. */
export const tokenExchange: readonly Variant[] = [
  {
    name: 'token exchange',
    async start() {
      const server = await countersign()
      const { tokens } = await signInDevices(server, TOKENS)
      const next = turns(accessTokens(tokens))
      const type = 'urn:ietf:params:oauth:token-type:access_token'
      const fixed = { grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', subject_token_type: type }
      const form = () => ({ ...fixed, subject_token: next() })
      const clients = connections(() => forms('/token', basic(AGENT), form, (answer) => isJwt(answer.access_token)))
      return { server, clients }
    },
  },
  { name: 'client_credentials', start: async () => ({ server: await countersign(), clients: clientCredentialsOf() }) },
]
