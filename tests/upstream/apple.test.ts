import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { apple } from '../../src/upstream/apple.ts'
import { google } from '../../src/upstream/google.ts'
import { findChromium, launchBrowser } from '../support/chromium.ts'
import { startEmulators } from '../support/emulate.ts'
import { upstreamWorld, worldUrl } from '../support/upstream-world.ts'

vi.setConfig({ hookTimeout: 240_000 })

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const options = { clientId: 'com.example.web', teamId: 'ABCDE12345', keyId: 'FGHIJ67890', privateKey: pem }
const callback = `${worldUrl}/authorize/callback/apple`
const chromium = await findChromium()

let emulators: Awaited<ReturnType<typeof startEmulators>>
beforeAll(async () => {
  const seed = {
    users: [
      { email: 'anna@example.com', name: 'Anna One', given_name: 'Anna', family_name: 'One' },
      { email: 'hidden@example.com', name: 'Hidden', is_private_email: true },
    ],
    oauth_clients: [{ client_id: options.clientId, team_id: options.teamId, name: 'Me', redirect_uris: [callback] }],
  }
  emulators = await startEmulators([{ service: 'apple', baseUrl: 'https://appleid.apple.com', seed }])
})
afterAll(() => emulators?.stop())

/** What Apple's page posts to us when a person was picked. */
const pick = async (authorizationUrl: string, person: string): Promise<Record<string, string>> => {
  const attributes = (html: string) =>
    [...html.matchAll(/<input[^>]*>/g)].map(([tag]): [string, string] => [
      /\bname="([^"]*)"/.exec(tag)?.[1] ?? '',
      (/\bvalue="([^"]*)"/.exec(tag)?.[1] ?? '').replaceAll('&quot;', '"').replaceAll('&amp;', '&'),
    ])
  const page = await (await emulators.fetch(authorizationUrl)).text()
  const form = page.split(/(?=<form)/).find((part) => part.startsWith('<form') && part.includes(person)) ?? ''
  const body = new URLSearchParams(attributes(form.split('</form>', 1).join('')))
  const action = new URL(/action="([^"]*)"/.exec(form)?.[1] ?? '', authorizationUrl)
  const answer = await (await emulators.fetch(action.href, { method: 'POST', body })).text()
  expect(answer).toContain(`action="${callback}"`)
  return Object.fromEntries(attributes(answer))
}

const posted = (fields: Record<string, string> | URLSearchParams, headers: Record<string, string> = {}) =>
  new Request(callback, {
    method: 'POST',
    body: new URLSearchParams(fields),
    // From Apple's site: the browser sends none of our Lax cookies.
    headers: { origin: 'https://appleid.apple.com', 'sec-fetch-site': 'cross-site', ...headers },
  })

const secrets: string[] = []
const world = (shared: Parameters<typeof upstreamWorld>[1] = {}) =>
  upstreamWorld(apple(options), {
    ...shared,
    fetch: (input, init) => {
      const secret = new URLSearchParams(String(init?.body ?? '')).get('client_secret')
      if (secret !== null) secrets.push(secret)
      return emulators.fetch(input, init)
    },
  })
type World = ReturnType<typeof world>

const connect = (server: World, person: string) =>
  server.connect(async (url) => {
    const answer = await server.auth.respond(posted(await pick(url, person)))
    expect(answer?.status).toBe(303)
    return answer?.headers.get('location') ?? ''
  })

describe('Sign in with Apple', () => {
  test('its posted answer arrives without our cookies, and the person is signed in; the name comes once, and is kept', async () => {
    const server = world()
    const first = await connect(server, 'anna@example.com')
    const claims = { email: 'anna@example.com', email_verified: true, iss: 'https://appleid.apple.com' }
    const seen = await server.whoami(first.accessToken)
    expect(seen).toMatchObject({
      upstream: { provider: 'apple', claims: { ...claims, name: 'Anna One', given_name: 'Anna' } },
    })
    const refreshed = await server.refresh(first)
    expect(await server.whoami(String(refreshed.body.access_token))).toMatchObject({ upstream: seen.upstream })
    const restarted = world({ store: server.store, clock: server.clock })
    for (const later of [server, restarted]) {
      const again = await connect(later, 'anna@example.com')
      const second = await later.whoami(again.accessToken)
      expect(second).toMatchObject({
        subject: seen.subject,
        upstream: { claims: { ...claims, name: 'Anna One', given_name: 'Anna', family_name: 'One' } },
      })
      const renewed = await later.refresh(again)
      expect(await later.whoami(String(renewed.body.access_token))).toMatchObject({ upstream: second.upstream })
    }
  })

  test('a schema that requires the name is satisfied at later sign-ins, too; once the account is deleted the name is gone', async () => {
    const strict = apple({ ...options, claims: z.looseObject({ name: z.string() }) })
    const server = upstreamWorld(strict, { fetch: (input, init) => emulators.fetch(input, init) })
    const asked = (name: string | undefined) => async (url: string) => {
      const { user: _user, ...fields } = await pick(url, 'anna@example.com')
      const user = name === undefined ? {} : { user: JSON.stringify({ name: { firstName: name } }) }
      const answer = await server.auth.respond(posted({ ...fields, ...user }))
      return answer?.headers.get('location') ?? ''
    }
    const nameOf = async (name: string | undefined) => {
      const { accessToken } = await server.connect(asked(name))
      return (await server.whoami(accessToken)).upstream as { claims: { name: string } }
    }
    expect((await server.arrive(asked(undefined))).visit.status).toBe(403)
    expect(await nameOf('Anna')).toHaveProperty('claims.name', 'Anna')
    expect(await nameOf(undefined)).toHaveProperty('claims.name', 'Anna')
    // Who is asked for consent again may give another.
    expect(await nameOf('Anne')).toHaveProperty('claims.name', 'Anne')
    expect(await nameOf(undefined)).toHaveProperty('claims.name', 'Anne')
    const { accounts } = await server.auth.accounts.list()
    expect(accounts).toHaveLength(1)
    await server.auth.accounts.delete(accounts[0]?.id ?? '')
    expect((await server.arrive(asked(undefined))).visit.status).toBe(403)
  })

  test('attack: a name is kept of the one who brought it, sealed, and of nobody else', async () => {
    const server = world()
    const as = (person: string, user: object) => async (url: string) => {
      const { user: _user, ...fields } = await pick(url, person)
      const answer = await server.auth.respond(posted({ ...fields, user: JSON.stringify(user) }))
      return answer?.headers.get('location') ?? ''
    }
    await server.connect(as('hidden@example.com', { name: { firstName: 'Mallory-the-first' } }))
    const anna = await server.connect(as('anna@example.com', {}))
    expect((await server.whoami(anna.accessToken)).upstream).not.toHaveProperty('claims.name')
    const { entries } = await server.store.list('identity-answer/', { limit: 10 })
    expect(entries).toHaveLength(1)
    expect(entries.map(({ value }) => Buffer.from(value).toString()).join()).not.toContain('Mallory')
  })

  test('an address of Apple’s relay is told apart', async () => {
    const server = world()
    const { accessToken } = await connect(server, 'hidden@example.com')
    const { upstream } = await server.whoami(accessToken)
    expect(upstream).toMatchObject({ claims: { is_private_email: true } })
    expect((upstream as { claims: { email: string } }).claims.email).toMatch(/@privaterelay\.appleid\.com$/)
  })

  test('the client secret is a short JWT of our key', async () => {
    await connect(world(), 'anna@example.com')
    const { payload, protectedHeader } = await jwtVerify(secrets.at(-1) ?? '', createPublicKey(privateKey), {
      ...{ issuer: options.teamId, subject: options.clientId, audience: 'https://appleid.apple.com' },
    })
    expect(protectedHeader).toMatchObject({ alg: 'ES256', kid: options.keyId })
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBeLessThanOrEqual(600)
  })

  test('what the browser adds to the answer is a name at most: no address, no subject, no length without end', async () => {
    for (const [user, name] of [
      [{ name: { firstName: 'Mallory' }, email: 'admin@example.com', sub: 'admin', email_verified: true }, 'Mallory'],
      [{ name: { firstName: 'x'.repeat(300) } }, undefined],
      [{ name: { firstName: { a: 1 } } }, undefined],
      ['null', undefined],
      ['{', undefined],
    ] as const) {
      const server = world()
      const { accessToken } = await server.connect(async (url) => {
        const fields = await pick(url, 'anna@example.com')
        const text = typeof user === 'string' ? user : JSON.stringify(user)
        const answer = await server.auth.respond(posted({ ...fields, user: text }))
        return answer?.headers.get('location') ?? ''
      })
      const { upstream } = (await server.whoami(accessToken)) as {
        upstream: { subject: string; claims: { sub: string } }
      }
      expect(upstream).toMatchObject({ claims: { email: 'anna@example.com' } })
      expect(upstream.claims.sub).toBe(upstream.subject)
      expect((upstream.claims as { name?: string }).name).toBe(name)
    }
  })

  test('who cancels at Apple gets the page for that, and a way on', async () => {
    const server = world()
    const { visit } = await server.arrive(async (url) => {
      const state = new URL(url).searchParams.get('state') ?? ''
      const answer = await server.auth.respond(posted({ error: 'user_cancelled_authorize', state }))
      return answer?.headers.get('location') ?? ''
    })
    expect([visit.status, visit.forms.length > 0]).toEqual([403, true])
    expect(visit.text).not.toContain('user_cancelled')
    expect(server.types()).toContain('sign_in.refused')
  })

  test('a post decides nothing: in another browser, repeated, too long, or at a provider that does not post', async () => {
    const server = world()
    const browser = server.newBrowser()
    let fields: Record<string, string> = {}
    const { visit } = await server.arrive(
      async (url) => {
        fields = await pick(url, 'anna@example.com')
        // The victim's browser, which never began this: login CSRF.
        const elsewhere = await server
          .newBrowser()
          .open((await server.auth.respond(posted(fields)))?.headers.get('location') ?? '')
        expect(elsewhere.status).toBeGreaterThanOrEqual(400)
        expect(elsewhere.left).toBeUndefined()
        return (await server.auth.respond(posted(fields)))?.headers.get('location') ?? ''
      },
      { browser },
    )
    expect(visit.left?.searchParams.get('code')).toBeTruthy()

    const twice = new URLSearchParams([...Object.entries(fields), ['state', fields.state ?? '']])
    const answer = await server.auth.respond(posted(twice))
    expect((await browser.open(answer?.headers.get('location') ?? '')).status).toBe(400)
    expect((await server.auth.respond(posted({ ...fields, user: 'x'.repeat(10_000) })))?.status).toBe(413)
    expect(
      (await server.auth.respond(posted({ ...fields, redirect: 'https://evil.example.com' })))?.headers.get('location'),
    ).not.toContain('evil')
    const other = upstreamWorld(google({ clientId: 'me', clientSecret: 's' }))
    const request = new Request(`${worldUrl}/authorize/callback/google`, {
      method: 'POST',
      body: new URLSearchParams(fields),
    })
    expect((await other.auth.respond(request))?.status).toBe(405)
  })

  test.skipIf('skip' in chromium)(
    'Chromium: a form posted from another site ends at our link, with the Lax cookie',
    async () => {
      const cookies: (string | undefined)[] = []
      const ours = createServer(async (request, response) => {
        if (request.url === '/begin') {
          response.writeHead(200, {
            'set-cookie': 'lax=1; SameSite=Lax; HttpOnly; Path=/',
            'content-type': 'text/html',
          })
          return response.end('begun')
        }
        if (!request.url?.startsWith('/authorize/')) return response.end()
        cookies.push(`${request.method} ${request.headers.cookie ?? 'none'}`)
        let body = ''
        for await (const chunk of request) body += chunk
        if (request.method !== 'POST') return response.end('arrived')
        const answer = await world().auth.respond(posted(new URLSearchParams(body)))
        const location = new URL(answer?.headers.get('location') ?? '')
        response.writeHead(answer?.status ?? 500, { location: `${location.pathname}${location.search}` })
        return response.end()
      })
      ours.listen(0, '127.0.0.1')
      const theirs = createServer((_request, response) => {
        response.writeHead(200, { 'content-type': 'text/html' })
        const { port } = ours.address() as AddressInfo
        response.end(
          `<form method="post" action="http://localhost:${port}/authorize/callback/apple"><input name="code" value="c"><input name="state" value="s"><button>Go</button></form>`,
        )
      })
      theirs.listen(0, '127.0.0.1')
      const browser = await launchBrowser()
      try {
        const page = await browser.newPage()
        await page.goto(`http://localhost:${(ours.address() as AddressInfo).port}/begin`)
        // Another host is another site.
        await page.goto(`http://127.0.0.1:${(theirs.address() as AddressInfo).port}/`)
        await page.getByRole('button').click()
        await page.getByText('arrived').waitFor()
        expect(new URL(page.url()).search).toBe('?code=c&state=s')
        expect(cookies).toEqual(['POST none', 'GET lax=1'])
      } finally {
        await browser.close()
        for (const server of [ours, theirs]) {
          server.close()
          server.closeAllConnections()
        }
      }
    },
  )
})
