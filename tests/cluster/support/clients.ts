import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import { createFormBrowser, type FormBrowser, type Page } from '../../end-to-end/support/form-browser.ts'
import { signIn } from '../../end-to-end/support/sign-in.ts'
import type { Cluster, Node } from './cluster.ts'
import type { History } from './history.ts'
import { ask, form, type HttpAnswer, type HttpRequest } from './http.ts'

/** An answer, or undefined where none came. */
export type Answer = { readonly status: number; readonly body: Record<string, unknown> } | undefined

export interface Tokens {
  readonly access: string
  readonly refresh: string
}

/** Somebody at a device with one application. */
export interface Session {
  readonly person: string
  tokens: Tokens
  /** Of the person here, once it was seen. */
  subject?: string
}

export interface Code {
  readonly code: string
  readonly verifier: string
}

export const redirectUri = 'https://app.example.com/callback'
/** An address of one's own, as a load balancer tells of it: what is limited by address is not limited for all of them together. */
const addressOf = (person: string): string =>
  `10.${[...createHash('sha256').update(person).digest().subarray(0, 3)].join('.')}`

const responseOf = ({ status, headers, text }: HttpAnswer): Response => {
  const all = Object.entries(headers).flatMap(([name, value = []]) =>
    [value].flat().map((each) => [name, each] as const),
  )
  return new Response(text, {
    status,
    headers: new Headers(all.map(([name, value]): [string, string] => [name, value])),
  })
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** What clients know of a cluster. */
export interface Surroundings extends Pick<Cluster, 'issuer' | 'robotKey'> {
  readonly nodes: readonly Origin[]
  readonly provider: Pick<Cluster['provider'], 'issuer'>
}

/** A node, as clients see it. */
export type Origin = Pick<Node, 'origin'>

/** HTTP clients of a cluster: they choose nodes by chance, as a load balancer does for them. */
export function createClients({ issuer, nodes, provider, robotKey }: Surroundings, history: History) {
  const anyNode = (): Origin => {
    const node = nodes[Math.floor(Math.random() * nodes.length)]
    if (!node) throw new Error('there is no node')
    return node
  }

  async function send(node: Origin, path: string, request: HttpRequest, patience = 20_000): Promise<Answer> {
    try {
      const { status, text } = await ask(`${node.origin}${path}`, { ...request, patience })
      return { status, body: text.startsWith('{') ? JSON.parse(text) : {} }
    } catch {
      return undefined
    }
  }
  const post = (path: string, fields: Record<string, string>, node = anyNode()) => send(node, path, form(fields))

  function browserOf(person: string): FormBrowser {
    return createFormBrowser({
      away: (url) => url.href.startsWith(`${redirectUri}?`),
      async send(request) {
        const url = new URL(request.url)
        const headers = Object.fromEntries(request.headers)
        if (url.origin === provider.issuer) headers['x-person'] = person
        headers['x-forwarded-for'] = addressOf(person)
        const target = url.origin === issuer ? `${anyNode().origin}${url.pathname}${url.search}` : url
        const body = request.method === 'POST' ? { body: await request.text() } : {}
        return responseOf(await ask(target, { method: request.method, headers, ...body }))
      },
    })
  }

  function authorizationRequest(more: Record<string, string> = {}): { readonly url: URL; readonly verifier: string } {
    const verifier = randomBytes(32).toString('base64url')
    const url = new URL(`${issuer}/authorize`)
    url.search = String(
      new URLSearchParams({
        response_type: 'code',
        client_id: 'app',
        redirect_uri: redirectUri,
        scope: 'use',
        resource: `${issuer}/mcp`,
        state: 'state',
        code_challenge: createHash('sha256').update(verifier).digest('base64url'),
        code_challenge_method: 'S256',
        ...more,
      }),
    )
    return { url, verifier }
  }

  /** What people do when they are asked to wait a moment. */
  const moment = () => sleep(50 + Math.random() * 150)

  /** Sends it until there is an answer that is not 503. */
  async function patiently(send: () => Promise<Answer>): Promise<Answer> {
    for (let tried = 0; tried < 200; tried++) {
      const answer = await send()
      if (answer && answer.status !== 503) return answer
      history.count(answer ? 'answers of 503' : 'no answer')
      await moment()
    }
    return undefined
  }

  /** To a code; what was lost on the way is begun again, as people do. */
  async function authorize(browser: FormBrowser): Promise<Code> {
    for (let tried = 1; ; tried++) {
      const { url, verifier } = authorizationRequest()
      try {
        const { end } = await signIn(browser, url, { username: '', password: '' })
        const code = end.searchParams.get('code')
        if (code === null) throw new Error(`no code came back: ${end.searchParams}`)
        return { code, verifier }
      } catch (error) {
        if (tried === 200) throw error
        history.count('sign-ins begun again')
        await sleep(250)
      }
    }
  }

  const redeem = ({ code, verifier }: Code, node?: Origin) =>
    post(
      '/token',
      { grant_type: 'authorization_code', code, code_verifier: verifier, client_id: 'app', redirect_uri: redirectUri },
      node,
    )

  const refresh = (token: string, node?: Origin) =>
    post('/token', { grant_type: 'refresh_token', refresh_token: token, client_id: 'app' }, node)

  const tokensOf = ({ body }: NonNullable<Answer>): Tokens => ({
    access: String(body.access_token),
    refresh: String(body.refresh_token),
  })

  /** From the first page to tokens; what was lost on the way is begun again, as people do. */
  async function connect(person: string, browser = browserOf(person)): Promise<Session> {
    for (let tried = 1; tried < 200; tried++) {
      const answer = await redeem(await authorize(browser))
      if (answer?.status === 200) return { person, tokens: tokensOf(answer) }
      // It was presented once. Where no answer came, the client authorizes again.
      if (answer && answer.status !== 503) history.violation('a good code was refused', answer)
      history.count(answer ? 'redemptions answered with 503' : 'redemptions without an answer')
      await sleep(250)
    }
    throw new Error('no code could be redeemed')
  }

  const call = (access: string, node = anyNode(), path = '/mcp') =>
    send(node, path, { headers: { authorization: `Bearer ${access}` } })

  /** Calls until there is an answer, and looks at it. */
  async function whoami(session: Session, node?: Origin, path?: string): Promise<void> {
    for (let tried = 0; tried < 200; tried++) {
      const answer = await call(session.tokens.access, node, path)
      if (answer?.status === 200) {
        session.subject ??= String(answer.body.subject)
        const { person, subject } = session
        const expected = { kind: 'user', issuer, subject, clientId: 'app', person, email: `${person}@example.com` }
        for (const [name, value] of Object.entries(expected)) {
          if (answer.body[name] !== value)
            history.violation('an identity that is not the granted one', { expected, seen: answer.body })
        }
        return history.count('calls')
      }
      if (answer !== undefined && answer.status !== 503) {
        return history.violation('a good access token was refused', { ...answer, person: session.person })
      }
      history.count(answer ? 'calls answered with 503' : 'calls without an answer')
      await moment()
    }
    history.violation('no answer for long', { person: session.person })
  }

  /** Refreshes until there is an answer, with the last token that was given, as clients do. */
  async function renew(session: Session): Promise<void> {
    for (let tried = 0; tried < 200; tried++) {
      const answer = await refresh(session.tokens.refresh)
      if (answer?.status === 200) {
        session.tokens = tokensOf(answer)
        return history.count('refreshes')
      }
      if (answer !== undefined && answer.status !== 503) {
        return history.violation('a lost session', { ...answer, person: session.person })
      }
      history.count(answer ? 'refreshes answered with 503' : 'refreshes without an answer')
      await moment()
    }
    history.violation('no answer for long', { person: session.person })
  }

  async function assertion(jti: string = randomUUID()): Promise<string> {
    return new SignJWT({ jti })
      .setProtectedHeader({ alg: 'ES256', kid: 'robot' })
      .setIssuer('robot')
      .setSubject('robot')
      .setAudience(issuer)
      .setIssuedAt()
      .setExpirationTime('2m')
      .sign(robotKey)
  }

  const askAsRobot = (signed: string, node?: Origin) =>
    post(
      '/token',
      {
        grant_type: 'client_credentials',
        resource: `${issuer}/mcp`,
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: signed,
      },
      node,
    )

  const revoke = (token: string, node?: Origin) => post('/revoke', { token, client_id: 'app' }, node)

  /** A page that asks for consent, whatever was allowed before. */
  async function consentPage(browser: FormBrowser): Promise<{ page: Page; verifier: string }> {
    const { url, verifier } = authorizationRequest({ prompt: 'consent' })
    for (let tried = 0; ; tried++) {
      const page = await browser.open(url).catch((error: unknown) => {
        if (tried === 200) throw error
      })
      if (page && (page.status !== 503 || tried === 200)) return { page, verifier }
      history.count(page ? 'pages answered with 503' : 'pages without an answer')
      await moment()
    }
  }

  return {
    anyNode,
    browserOf,
    moment,
    patiently,
    authorize,
    redeem,
    refresh,
    tokensOf,
    connect,
    call,
    whoami,
    renew,
    assertion,
    askAsRobot,
    revoke,
    consentPage,
  }
}

export type Clients = ReturnType<typeof createClients>
