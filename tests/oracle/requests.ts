import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { challengeOf } from '../attacks/support/target.ts'
import { type OracleClient, ours, type Server, theOther, verifier } from './servers.ts'

/** Status and error; for what a browser asks, whether it stays on a page or is sent back. */
type Verdict = string

export interface Case {
  readonly name: string
  readonly ask: (server: Server) => Promise<Response> | Response
  readonly verdict: Verdict
  /** What the other one answers, where it is not the same, and why ours is right. */
  readonly other?: { readonly verdict: Verdict; readonly because: string }
}

export type Form = Readonly<Record<string, string | readonly string[] | undefined>>

const encoded = (form: Form): string => {
  const body = new URLSearchParams()
  for (const [name, value] of Object.entries(form)) {
    for (const one of value === undefined ? [] : [value].flat()) body.append(name, one)
  }
  return body.toString()
}

export const post = (server: Server, path: keyof Server['paths'], form: Form | string, headers: HeadersInit = {}) =>
  server.send(
    new Request(server.issuer + server.paths[path], {
      method: 'POST',
      body: typeof form === 'string' ? form : encoded(form),
      headers: { 'Content-Type': 'application/x-www-form-urlencoded', ...headers },
    }),
  )

export const basic = (id: string, secret: string) => ({ Authorization: `Basic ${btoa(`${id}:${secret}`)}` })
export const own = ({ id, secret }: OracleClient): Form => ({
  client_id: id,
  ...(secret === undefined ? {} : { client_secret: secret }),
})

/** Redeems a fresh code of the public client, with changes. */
export const redeem = async (server: Server, changes: Form, headers?: HeadersInit) => {
  const client = server.publicClient
  const form = {
    grant_type: 'authorization_code',
    code: await server.code(client),
    code_verifier: verifier,
    redirect_uri: client.redirectUri,
    ...own(client),
    ...changes,
  }
  return post(server, 'token', form, headers)
}

export const refresh = async (server: Server, changes: Form) => {
  const client = server.publicClient
  const token = await server.refreshToken(client)
  return post(server, 'token', { grant_type: 'refresh_token', refresh_token: token, ...own(client), ...changes })
}

export const authorize = (server: Server, changes: Form) => {
  const { id, redirectUri } = server.publicClient
  const query = encoded({
    response_type: 'code',
    client_id: id,
    redirect_uri: redirectUri,
    code_challenge: challengeOf(verifier),
    code_challenge_method: 'S256',
    scope: 'notes:read',
    resource: server.resource,
    state: 'a state',
    ...changes,
  })
  return server.send(new Request(`${server.issuer}${server.paths.authorize}?${query}`))
}

export const registration = (server: Server, metadata: object | string, headers: HeadersInit = {}) =>
  server.send(
    new Request(server.issuer + server.paths.register, {
      method: 'POST',
      body: typeof metadata === 'string' ? metadata : JSON.stringify(metadata),
      headers: { 'Content-Type': 'application/json', ...headers },
    }),
  )

export const app = { redirect_uris: ['https://app.example.net/callback'], token_endpoint_auth_method: 'none' }

const verdictOf = async (response: Response): Promise<Verdict> => {
  const location = response.headers.get('location')
  if (location !== null) {
    const { searchParams, hash, origin, pathname } = new URL(location, 'https://relative.invalid')
    const error = searchParams.get('error') ?? new URLSearchParams(hash.slice(1)).get('error')
    return error === null ? `on to ${origin}${pathname}` : `back ${error}`
  }
  const text = await response.text()
  if (response.headers.get('content-type')?.includes('html')) return `page ${response.status}`
  const error = /"error":\s*"(\w+)"/.exec(text)?.[1]
  return [response.status, error].filter((part) => part !== undefined).join(' ')
}

/** Each case as a test, at a server of each kind. */
export const compare = (groups: Readonly<Record<string, readonly Case[]>>): void => {
  describe('the same mistakes, at this server and at another', () => {
    let mine: Server
    let other: Server
    beforeAll(async () => {
      ;[mine, other] = await Promise.all([ours(), theOther()])
    })
    afterAll(async () => {
      await Promise.all([mine?.stop(), other?.stop()])
    })

    for (const [where, cases] of Object.entries(groups)) {
      test.each(cases)(`${where}: $name`, async ({ ask, verdict, other: difference }) => {
        const answers = await Promise.all([mine, other].map(async (server) => verdictOf(await ask(server))))
        expect(answers).toEqual([verdict, difference?.verdict ?? verdict])
      })
    }
  })
}
