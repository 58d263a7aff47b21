import { readdirSync, readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { sqliteAudit } from '../../src/audit/sqlite.ts'
import { memory } from '../../src/store/memory.ts'
import type { Store } from '../../src/store/store.ts'
import { localAccounts } from '../../src/upstream/local.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import {
  createTarget,
  credentials,
  elsewhere,
  ISSUER,
  type Target,
  upstreamSecrets,
  verifier,
} from './support/target.ts'

// RFC 6819 §4.1.2 and §4.5.2 (secrets in logs, stolen databases), RFC 9700 §4.3 (leaks by addresses).

/** Everything that was ever written into the store, as text; keys and notifications too. */
const recording = () => {
  const written: string[] = []
  const engine = (clock: { now(): number }): Store => {
    const store = memory({ clock })
    return {
      ...store,
      commit(batch) {
        for (const { key, value } of batch.sets ?? []) written.push(key, Buffer.from(value).toString('latin1'))
        written.push(...(batch.deletes ?? []), ...(batch.notify ?? []))
        return store.commit(batch)
      },
      increment(key, by, ttl) {
        written.push(key)
        return store.increment(key, by, ttl)
      },
    }
  }
  return { written, engine }
}

interface Seen {
  readonly target: Target
  /** By what it is. */
  readonly secrets: ReadonlyMap<string, string>
  readonly addresses: readonly string[]
  readonly errors: readonly unknown[]
}

const password = 'correct horse battery staple'

/** A whole flow, with everything that can go wrong in it, and every secret that was seen in it. */
const wholeFlow = async (
  engine: (clock: { now(): number }) => Store,
  more: Pick<NonNullable<Parameters<typeof createTarget>[0]>, 'auditLog'> = {},
): Promise<Seen> => {
  const people = localAccounts()
  const target = await createTarget({ engine, upstream: [elsewhere('a'), people], ...more })
  await target.auth.ready()
  await people.accounts.create({ username: 'Alice', password, email: 'alice@example.org' })
  const secrets = new Map<string, string>(Object.entries(upstreamSecrets))
  const addresses: string[] = []
  const errors: unknown[] = []
  secrets.set('password', password)
  secrets.set('code verifier', verifier)
  const client = await target.register({ token_endpoint_auth_method: 'client_secret_basic' })
  secrets.set('client secret', client.secret ?? '')
  const upstreamCode = 'Upstream-Code-Of-Carol'

  for (const way of ['password', 'provider'] as const) {
    const browser = target.browser()
    const consent = await browser.open(target.authorizeUrl(client))
    secrets.set(`${way}: CSRF token`, browser.filled(consent, 'approve')[1].get('csrf') ?? '')
    const choose = await browser.submit(consent, 'approve')
    let left: URL | undefined
    if (way === 'password') {
      await browser.submit(choose, undefined, { username: 'Alice', password: `${password} wrong` })
      ;({ left } = await browser.submit(choose, undefined, { username: 'Alice', password }))
    } else {
      const away = (await browser.submit(choose, 'a')).left
      const state = away?.searchParams.get('state') ?? ''
      secrets.set('upstream state', state.split('.')[1] ?? '')
      secrets.set('upstream code', upstreamCode)
      await browser.open(`${ISSUER}/authorize/callback/a?state=${state}x&code=${upstreamCode}`)
      ;({ left } = await browser.open(`${ISSUER}/authorize/callback/a?state=${state}&code=${upstreamCode}`))
      // The person's name is the code there: what it is called is no secret any more.
      secrets.delete('upstream code')
    }
    addresses.push(consent.url, choose.url)
    for (const { name, value } of browser.cookies.values()) secrets.set(`${way}: cookie ${name}`, value)
    const code = left?.searchParams.get('code') ?? ''
    secrets.set(`${way}: code`, code).set(`${way}: secret of the code`, code.split('.').at(-1) ?? '')
    const wrong = await target.redeem({ code, client, verifier: `${verifier}x` })
    expect(wrong.status).toBe(400)
    const { body } = await target.redeem({ code, client, verifier })
    const answers = [body, (await target.redeem({ code, client, verifier })).body]
    for (let round = 0; round < 3; round++) {
      const last = answers.findLast((each) => each.refresh_token)
      answers.push((await target.refresh(client, last?.refresh_token ?? '')).body)
    }
    answers.forEach(({ access_token, refresh_token }, at) => {
      if (access_token)
        secrets
          .set(`${way}: access token ${at}`, access_token)
          .set(`${way}: its signature ${at}`, access_token.split('.')[2] ?? '')
      if (refresh_token)
        secrets
          .set(`${way}: refresh token ${at}`, refresh_token)
          .set(`${way}: its MAC ${at}`, refresh_token.split('.')[4] ?? '')
    })
    const bearer = answers.findLast((each) => each.access_token)?.access_token ?? ''
    expect((await target.call(bearer)).status).toBe(200)
    await target.call(bearer, {}, '/other')
    await target.call(`${bearer}x`)
    await target.refresh({ ...client, secret: `${client.secret}x` }, body.refresh_token ?? '')
    await target.refresh(client, `${body.refresh_token}x`)
    // Our own trouble is logged with its cause.
    target.store.down = true
    errors.push(
      await target.refresh(client, answers.at(-1)?.refresh_token ?? ''),
      await (await target.call(`${bearer}`)).text(),
    )
    await target.redeem({ code, client, verifier })
    await browser.open(target.authorizeUrl(client))
    target.store.down = false
    await target.clock.pass(400_000)
    await target.refresh(client, body.refresh_token ?? '')
    await target.post('/revoke', { token: bearer, ...credentials(client) })
  }
  return { target, secrets, addresses, errors }
}

test('stolen database, logs, audit log, addresses, errors and all that a host can look at: no secret is in them', async () => {
  const { written, engine } = recording()
  const { path, remove } = temporaryDirectory()
  const auditLog = sqliteAudit(`${path}/audit.db`)
  const { target, secrets, addresses, errors } = await wholeFlow(engine, { auditLog })
  await auditLog.flush()
  expect((await auditLog.query({ limit: 1000 })).events).toHaveLength(target.events.length)
  expect(secrets.size).toBeGreaterThan(30)
  expect(target.log.length).toBeGreaterThan(0)
  expect(target.events.map(({ type }) => type)).toEqual(
    expect.arrayContaining([
      'code.refused',
      'refresh.refused',
      'refresh.replayed',
      'sign_in.refused',
      'access.refused',
      'grant.revoked',
      'authorization.refused',
    ]),
  )

  const shown = (value: unknown) => inspect(value, { depth: 12, maxArrayLength: null, maxStringLength: null })
  const tokens = target.reached.map(({ context }) => context.accessToken)
  const places: Record<string, string> = {
    store: written.join('\n'),
    log: target.log.join('\n'),
    audit: JSON.stringify(target.events),
    'the audit log': readdirSync(path)
      .map((file) => readFileSync(`${path}/${file}`, 'latin1'))
      .join('\n'),
    addresses: addresses.join('\n'),
    errors: shown(errors),
    'the server': shown(target.auth) + JSON.stringify(target.auth) + shown(target.store),
    'the token of a handler': shown(tokens) + JSON.stringify(tokens) + tokens.map(String).join(),
    'a token that was cloned': shown(tokens.map((token) => structuredClone(token))),
    'a token that was spread': shown(tokens.map((token) => ({ ...token }))),
  }
  const found = Object.entries(places).flatMap(([place, text]) =>
    [...secrets]
      .filter(([, secret]) => secret.length < 16 || text.includes(secret))
      .map(([name]) => `${name} in ${place}`),
  )
  expect(found).toEqual([])
  expect(places['the audit log']).toContain('refresh.replayed')
  await auditLog.close()
  remove()
})

test('the test above finds what it looks for', async () => {
  const { written, engine } = recording()
  const { target, secrets } = await wholeFlow(engine)
  // What is kept in its place is there.
  const store = written.join('\n')
  expect(store).toContain('client/')
  expect(store).toContain('grant/')
  const [token] = target.reached.map(({ context }) => context.accessToken.token)
  expect([...secrets.values()]).toContain(token)
})

test('errors on the wire are the protocol’s own words, and the same whatever was wrong', async () => {
  const target = await createTarget()
  const client = await target.register()
  const other = await target.register()
  const inHand = await target.code(client)
  const tokens = await target.tokens(client)
  const bodies = [
    await target.redeem({ ...inHand, code: 'cs_ac_unknown' }),
    await target.redeem({ ...inHand, code: `cs_ac_${'A'.repeat(22)}.${'A'.repeat(22)}.${'A'.repeat(43)}` }),
    await target.redeem({ ...inHand, code: inHand.code.replace(/.{43}$/, 'A'.repeat(43)) }),
    await target.redeem(inHand, { client_id: other.id }),
    await target.redeem(inHand, { redirect_uri: 'https://evil.example/' }),
    await target.redeem(inHand, { code_verifier: 'x'.repeat(43) }),
    await target.refresh(other, tokens.refresh_token),
    await target.refresh(client, 'cs_rt_unknown'),
    await target.refresh(client, tokens.refresh_token.replace(/.{43}$/, 'A'.repeat(43))),
  ].map(({ status, body }) => JSON.stringify([status, body]))
  expect(new Set(bodies).size).toBe(1)
  const clients = [
    await target.refresh({ id: 'unknown', redirectUri: '' }, 'x'),
    await target.refresh({ id: 'unknown', redirectUri: '', secret: 'x' }, 'x'),
    await target.refresh({ ...client, secret: 'x' }, 'x'),
    await target.refresh(
      { ...(await target.register({ token_endpoint_auth_method: 'client_secret_post' })), secret: 'x' },
      'x',
    ),
  ].map(({ status, body }) => JSON.stringify([status, body]))
  expect(new Set(clients).size).toBe(1)
  const atTheGate = await Promise.all(
    ['x', 'a.b.c', tokens.refresh_token, inHand.code, `${tokens.access_token}x`].map(async (token) => {
      const response = await target.call(token)
      return JSON.stringify([response.status, await response.text(), response.headers.get('www-authenticate')])
    }),
  )
  expect(new Set(atTheGate).size).toBe(1)
})

test('user enumeration: an unknown name and a wrong password are one page, one status and about one time', async () => {
  const people = localAccounts({ limits: { perAccountAndAddress: 1_000, perAddress: 1_000 } })
  const target = await createTarget({ upstream: people })
  await target.auth.ready()
  await people.accounts.create({ username: 'Alice', password })
  const browser = target.browser()
  const page = await browser.submit(await browser.open(target.authorizeUrl(await target.register())), 'approve')
  const times: Record<string, number[]> = { Alice: [], Nobody: [] }
  const pages: Record<string, string> = {}
  // Many, because the fastest of each counts: a busy machine may slow any of them.
  for (let round = 0; round < 10; round++) {
    for (const username of ['Alice', 'Nobody']) {
      const started = performance.now()
      const visit = await browser.submit(page, undefined, { username, password: `wrong ${round}` })
      times[username]?.push(performance.now() - started)
      expect(visit.status).toBe(400)
      pages[username] = visit.html.replaceAll(username, 'NAME')
    }
  }
  expect(pages.Alice).toBe(pages.Nobody)
  const fastest = (name: string) => Math.min(...(times[name] ?? []))
  // A check that was left out would be a hundred times faster.
  expect(fastest('Nobody') / fastest('Alice')).toBeGreaterThan(0.2)
  expect(fastest('Nobody') / fastest('Alice')).toBeLessThan(5)
})
