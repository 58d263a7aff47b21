import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { postgresAudit } from '../../src/audit/postgres.ts'
import { sqliteAudit } from '../../src/audit/sqlite.ts'
import { run } from '../../src/cli/run.ts'
import { postgres } from '../../src/store/postgres.ts'
import { redis } from '../../src/store/redis.ts'
import { sqlite } from '../../src/store/sqlite.ts'
import type { Store } from '../../src/store/store.ts'
import { createTarget } from '../attacks/support/target.ts'
import { startPostgres } from '../support/postgres.ts'
import { startProcess } from '../support/process.ts'
import { startRedis } from '../support/redis.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const ISSUER = 'https://auth.example.com'
/** What every client of the operator's has besides. */
const known = { source: 'configured', applicationType: 'web', createdAt: expect.any(Number) }
const secret = () => randomBytes(32).toString('base64')

interface Answer {
  readonly code: number
  readonly out: string
  readonly error: string
  /** The lines of standard output, as JSON. */
  readonly json: readonly Readonly<Record<string, unknown>>[]
}

/** What the command line answers, in this process. */
const cli =
  (environment: Record<string, string>) =>
  async (...args: string[]): Promise<Answer> => {
    let [out, error] = ['', '']
    const code = await run(args, {
      environment,
      out: (text) => {
        out += text
      },
      error: (text) => {
        error += text
      },
    })
    const json = args.includes('--json')
      ? out
          .trim()
          .split('\n')
          .filter(Boolean)
          .map((line) => JSON.parse(line))
      : []
    return { code, out, error, json }
  }

const { path: folder, remove } = temporaryDirectory()
const [database, cache] = [await startPostgres(), await startRedis()]
afterAll(async () => {
  remove()
  if ('url' in database) await database.stop()
  if ('url' in cache) await cache.stop()
})

const engines: readonly [string, string | undefined, () => Store][] = [
  ['SQLite', `${folder}/beside.db`, () => sqlite(`${folder}/beside.db`)],
  ['PostgreSQL', 'url' in database ? database.url : undefined, () => postgres('url' in database ? database.url : '')],
  ['Redis', 'url' in cache ? cache.url : undefined, () => redis('url' in cache ? cache.url : '')],
]

describe.each(engines)('beside a running server on %s', (_name, where, open) => {
  test.skipIf(where === undefined)(
    'an operator sees and ends what there is, and the server knows at once',
    async () => {
      const key = secret()
      const target = await createTarget({ store: open(), secret: key, clock: undefined })
      const client = await target.register({ client_name: 'Evil \u001b[31mred\u202e\u009b2J' })
      const tokens = await target.tokens(client, { who: 'Alice' })
      const other = await target.tokens(client, { who: 'Bob' })
      const call = cli({ COUNTERSIGN_STORE: where ?? '', COUNTERSIGN_SECRET: key })

      const listed = await call('clients', 'list', '--json')
      expect(listed).toMatchObject({ code: 0, error: '' })
      expect(listed.json).toMatchObject([{ id: client.id, source: 'dynamic' }])
      const shown = await call('clients', 'list')
      expect(shown.out).toContain('Evil')
      for (const { out } of [listed, shown]) {
        // biome-ignore lint/suspicious/noControlCharactersInRegex: what must not be there
        expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
      }

      const accounts = (await call('accounts', 'list', '--json')).json
      expect(accounts).toHaveLength(2)
      const grants = (await call('grants', 'list', '--client', client.id, '--json')).json
      expect(grants.map(({ account }) => account).sort()).toEqual(accounts.map(({ id }) => id).sort())
      const [alice] = (await target.auth.grants.list(String(grants[0]?.account))).grants
      expect((await call('grants', 'list', '--account', String(grants[0]?.account), '--json')).json).toEqual([alice])

      const { issuer, subject } = (await target.auth.accounts.get(String(grants[0]?.account)))?.identities[0] ?? {}
      const found = await call('accounts', 'find', '--issuer', String(issuer), '--subject', String(subject), '--json')
      expect(found.json).toMatchObject([{ id: grants[0]?.account, subject: grants[0]?.subject }])
      expect((await call('accounts', 'find', '--issuer', String(issuer), '--subject', 'nobody')).code).toBe(1)

      const mine = [tokens, other].map(async ({ access_token: token }) => (await target.call(token)).status)
      expect(await Promise.all(mine)).toEqual([200, 200])
      expect((await call('grants', 'revoke', String(grants[0]?.id))).out).toBe('Revoked, with all its tokens.\n')
      const statuses = async () =>
        (
          await Promise.all([tokens, other].map(async ({ access_token: token }) => (await target.call(token)).status))
        ).sort()
      await expect.poll(statuses).toEqual([200, 401])
      expect(await call('grants', 'revoke', String(grants[0]?.id))).toMatchObject({ code: 1 })

      const [, second] = grants
      const deleted = await call('accounts', 'delete', String(second?.account), '--json')
      expect(deleted.json).toMatchObject([{ deleted: second?.account, grants: 1 }])
      await expect.poll(statuses).toEqual([401, 401])
      expect((await call('accounts', 'show', String(second?.account))).code).toBe(1)

      expect((await call('keys', 'list')).out).not.toMatch(/ 0\b/)
      const before = target.auth.keys.list()
      const rotated = (await call('keys', 'rotate', '--json')).json
      expect(rotated).toMatchObject([{ use: 'sign', state: 'next' }])
      await expect.poll(async () => (await target.auth.keys.list()).map(({ id }) => id)).toContain(rotated[0]?.id)
      expect((await call('keys', 'list', '--json')).json).toHaveLength((await before).length + 1)
      expect((await call('keys', 'rotate', '--json')).json[0]?.id).toBe(rotated[0]?.id)

      const created = await call(
        'clients',
        'create',
        '--name',
        'Mine',
        '--redirect-uri',
        'https://mine.example/cb',
        '--json',
      )
      expect(created).toMatchObject({ code: 0 })
      const [{ id = '', secret: given = '' } = {}] = created.json as { id: string; secret: string }[]
      expect(given).toMatch(/^cs_cs_/)
      expect((await call('clients', 'show', id)).out).not.toContain(given)
      const own = { id, secret: given, redirectUri: 'https://mine.example/cb' }
      const fresh = await target.tokens(own)
      expect((await target.call(fresh.access_token)).status).toBe(200)
      // Without the server's configuration no resource is known.
      expect(await call('clients', 'update', id, '--scopes', '/mcp notes:read')).toMatchObject({
        code: 1,
        error: expect.stringContaining('the configuration names none'),
      })
      const moved = ['--redirect-uri', 'https://mine.example/moved', '--json']
      const changed = await call('clients', 'update', id, ...moved)
      expect(changed.json).toMatchObject([{ id, redirectUris: ['https://mine.example/moved'], confidential: true }])
      expect(changed.json[0]).not.toHaveProperty('name')
      expect(changed.json[0]).not.toHaveProperty('secret')
      expect((await target.call(fresh.access_token)).status).toBe(200)
      expect((await call('clients', 'delete', id)).code).toBe(0)
      await expect.poll(async () => (await target.call(fresh.access_token)).status).toBe(401)

      const checked = await call('store', 'check', '--count', '--json')
      expect(checked).toMatchObject({ code: 0 })
      expect(checked.json).toMatchObject([{ keys: 4, signing: 1, entries: { 'key-ring': 1, client: 1 } }])
      expect(Math.abs(Number(checked.json[0]?.clockDifference))).toBeLessThan(5_000)
      await target.auth.close()
    },
  )
})

describe('moving house', () => {
  const targets = engines.slice(1)
  test.each(targets)('design 5: from SQLite to %s without signing anyone out', async (_name, where, open) => {
    if (where === undefined) return
    const key = secret()
    const { path, remove: forget } = temporaryDirectory()
    const fresh = where.startsWith('redis') ? `${where}/5` : where
    // A namespace of its own: the test above used this one.
    const opened =
      fresh === where
        ? await (async () => {
            const { default: pg } = await import('pg')
            const client = new pg.Client(where)
            await client.connect()
            await client.query('DROP SCHEMA IF EXISTS countersign CASCADE')
            await client.end()
            return open
          })()
        : () => redis(fresh)
    const before = await createTarget({ store: sqlite(`${path}/db`), secret: key, clock: undefined })
    const client = await before.register()
    const tokens = await before.tokens(client)
    const code = await before.code(client)
    await before.auth.close()
    const from = cli({ COUNTERSIGN_STORE: `${path}/db`, COUNTERSIGN_SECRET: key })
    const to = cli({ COUNTERSIGN_STORE: fresh, COUNTERSIGN_SECRET: key })
    const exported = await from('store', 'export', '--file', `${path}/export`, '--json')
    expect(exported).toMatchObject({ code: 0, error: '' })
    expect(statSync(`${path}/export`).mode & 0o777).toBe(0o600)
    const text = readFileSync(`${path}/export`, 'utf8')
    for (const value of [key, tokens.access_token, tokens.refresh_token, code.code]) expect(text).not.toContain(value)
    const imported = await to('store', 'import', '--file', `${path}/export`, '--json')
    expect(imported).toMatchObject({ code: 0, error: '' })
    expect(imported.json[0]?.imported).toBe(exported.json[0]?.exported)

    const after = await createTarget({ store: opened(), secret: key, clock: undefined })
    expect((await after.call(tokens.access_token)).status).toBe(200)
    const { status, body } = await after.refresh(client, tokens.refresh_token)
    expect(status).toBe(200)
    expect((await after.call(body.access_token)).status).toBe(200)
    expect((await after.redeem(code)).status).toBe(200)
    expect(await to('store', 'import', '--file', `${path}/export`)).toMatchObject({
      code: 1,
      error: 'countersign: the store to import into is not empty\n',
    })
    await after.auth.close()
    forget()
  })

  test('what is not a whole export is refused, and no word of it is repeated', async () => {
    const { path, remove: forget } = temporaryDirectory()
    const call = cli({ COUNTERSIGN_STORE: `${path}/db`, COUNTERSIGN_SECRET: secret() })
    const head = '{"format":"countersign-store","version":1}'
    const entry = '{"key":"a/1","value":"aHVudGVyMg=="}'
    const bad = {
      '': /no end/,
      hunter2: /no export/,
      '{"format":"other"}': /no export/,
      '{"format":"countersign-store","version":2}': /newer release/,
      [head]: /no end/,
      [`${head}\n${entry}`]: /no end/,
      [`${head}\n${entry}\n{"end":true,"entries":2}`]: /entries are missing/,
      [`${head}\n{"key":"a/1"}\n{"end":true,"entries":1}`]: /damaged/,
      [`${head}\n${entry}\n{"end":true,"entries":1}\n${entry}`]: /after the end/,
    }
    for (const [index, [text, message]] of Object.entries(bad).entries()) {
      writeFileSync(`${path}/${index}`, text)
      const { code, error } = await call('store', 'import', '--file', `${path}/${index}`)
      expect([code, error]).toEqual([1, expect.stringMatching(message)])
      expect(error).not.toContain('hunter2')
    }
    expect(await call('store', 'import', '--file', `${path}/absent`)).toMatchObject({
      code: 1,
      error: expect.stringContaining('can’t be read: ENOENT'),
    })
    forget()
  })

  test('an export never overwrites a file', async () => {
    const { path, remove: forget } = temporaryDirectory()
    const call = cli({ COUNTERSIGN_STORE: `${path}/db`, COUNTERSIGN_SECRET: secret() })
    await call('migrate')
    writeFileSync(`${path}/kept`, 'kept')
    expect(await call('store', 'export', '--file', `${path}/kept`)).toMatchObject({ code: 1 })
    expect(readFileSync(`${path}/kept`, 'utf8')).toBe('kept')
    forget()
  })
})

describe('secrets', () => {
  test('design 3, secrets rotate: by command, beside a server that runs', async () => {
    const { path, remove: forget } = temporaryDirectory()
    const [old, next] = [secret(), secret()]
    const target = await createTarget({ store: sqlite(`${path}/db`), secret: [next, old], clock: undefined })
    const client = await target.register()
    const tokens = await target.tokens(client)
    const environment = { COUNTERSIGN_STORE: `${path}/db` }
    // With one alone nothing is changed unasked: the other may be what a node has.
    expect((await cli({ ...environment, COUNTERSIGN_SECRET: old })('keys', 'list')).code).toBe(0)
    const partly = await cli({ ...environment, COUNTERSIGN_SECRET: old })('keys', 'rotate')
    expect(partly).toMatchObject({ code: 1, error: expect.stringContaining('whole list') })
    const resealed = await cli({ ...environment, COUNTERSIGN_SECRET: next })('keys', 'reseal', '--json')
    expect(resealed.json).toEqual([{ resealed: true }])
    expect((await cli({ ...environment, COUNTERSIGN_SECRET: old })('keys', 'list')).code).toBe(1)
    expect((await target.refresh(client, tokens.refresh_token)).status).toBe(200)
    await target.auth.close()
    writeFileSync(`${path}/secrets`, `${next}\n${secret()}\n`, { mode: 0o600 })
    expect((await cli(environment)('keys', 'list', '--secret-file', `${path}/secrets`)).code).toBe(0)
    const lines = `${secret()}\n${next}`
    expect((await cli({ ...environment, COUNTERSIGN_SECRET: lines })('keys', 'list')).code).toBe(0)
    forget()
  })

  test('are in no answer and in no error, and are never taken from the command line', async () => {
    const { path, remove: forget } = temporaryDirectory()
    const key = 'hunter2hunter2hunter2hunter2hunter2hunter2'
    const server = await createTarget({ store: sqlite(`${path}/db`), secret: key })
    await server.auth.ready()
    await server.auth.close()
    writeFileSync(`${path}/config.json`, `{ "secret": "${key}", nonsense`)
    writeFileSync(`${path}/short`, 'hunter2hunter2')
    const environment = { COUNTERSIGN_STORE: `${path}/db`, COUNTERSIGN_SECRET: `${key}x` }
    const answers = [
      await cli(environment)('keys', 'list'),
      await cli({ COUNTERSIGN_STORE: `${path}/db` })('keys', 'list', '--config', `${path}/config.json`),
      await cli({ COUNTERSIGN_STORE: `${path}/db` })('keys', 'list', '--secret-file', `${path}/short`),
      await cli({ COUNTERSIGN_STORE: `${path}/db` })('keys', 'list', '--secret', 'x'),
      await cli({ COUNTERSIGN_STORE: 'postgres://user:hunter2hunter2@127.0.0.1:1/x', COUNTERSIGN_SECRET: key })(
        'keys',
        'list',
      ),
      await cli({ COUNTERSIGN_STORE: 'redis://:hunter2hunter2@127.0.0.1:1', COUNTERSIGN_SECRET: key })('migrate'),
    ]
    for (const { code, out, error } of answers) {
      expect(code).toBeGreaterThan(0)
      expect(out + error).not.toContain('hunter2')
      expect(error).not.toMatch(/\n {4}at /)
    }
    const good = cli({ COUNTERSIGN_STORE: `${path}/db`, COUNTERSIGN_SECRET: key })
    for (const args of [
      ['keys', 'list'],
      ['keys', 'rotate'],
      ['keys', 'list', '--json'],
      ['store', 'check'],
    ]) {
      const { code, out, error } = await good(...args)
      expect(code).toBe(0)
      expect(out + error).not.toMatch(/hunter2|"d"|material/)
    }
    forget()
  })
})

describe('configuration', () => {
  test('a module exports the server’s own options; a JSON file holds settings; flags count more', async () => {
    const { path, remove: forget } = temporaryDirectory()
    const key = secret()
    const src = (file: string) => JSON.stringify(fileURLToPath(new URL(`../../src/${file}`, import.meta.url)))
    mkdirSync(`${path}/conf`)
    const text = `import { sqlite } from ${src('store/sqlite.ts')}
       import { sqliteAudit } from ${src('audit/sqlite.ts')}
       export default {
         url: '${ISSUER}',
         secret: '${key}',
         store: sqlite('${path}/db'),
         audit: [() => {}, sqliteAudit('${path}/audit.db')],
         resources: { '/mcp': { scopes: { 'notes:read': 'Read' } } },
         clients: [{ id: 'configured', name: 'Mine', redirectUris: ['https://mine.example/cb'] }],
       }`
    let times = 0
    /** A program of its own loads the module anew. */
    const call = (...args: string[]) => {
      const file = `${path}/conf/server-${++times}.ts`
      writeFileSync(file, text)
      return cli({ COUNTERSIGN_CONFIG: file })(...args)
    }
    const server = await createTarget({ store: sqlite(`${path}/db`), secret: key })
    await server.auth.ready()
    await server.auth.close()
    expect((await call('clients', 'list', '--json')).json).toMatchObject([{ id: 'configured' }])
    expect(
      (await call('clients', 'create', '--name', 'New', '--public', '--redirect-uri', 'https://x.example/cb')).code,
    ).toBe(0)
    const { json } = await call('audit', 'query', '--type', 'client.created', '--json')
    expect(json).toMatchObject([{ type: 'client.created', name: 'New' }])
    writeFileSync(`${path}/settings.json`, JSON.stringify({ url: ISSUER, store: `${path}/nowhere`, secret: key }))
    const settings = cli({})
    expect((await settings('clients', 'list', '--config', `${path}/settings.json`)).error).toMatch(/there is no file/)
    const flags = ['--config', `${path}/settings.json`, '--store', `${path}/db`]
    expect((await settings('clients', 'list', ...flags, '--json')).json).toMatchObject([{ name: 'New' }])
    forget()
  })

  test('clients that act for themselves and for people, as the configuration can say them', async () => {
    const { path, remove: forget } = temporaryDirectory()
    const key = secret()
    const server = await createTarget({ store: sqlite(`${path}/db`), secret: key })
    await server.auth.ready()
    await server.auth.close()
    const resources = {
      '/mcp': { scopes: { 'notes:read': 'Read', 'notes:write': 'Write' } },
      'https://other.example/mcp': { scopes: { 'other:read': 'Read' } },
    }
    writeFileSync(`${path}/settings.json`, JSON.stringify({ url: ISSUER, store: `${path}/db`, secret: key, resources }))
    const call = cli({ COUNTERSIGN_CONFIG: `${path}/settings.json` })
    const everything = [
      ...['--name', 'Worker', '--uri', 'https://worker.example', '--introspects', '/mcp', '--may-act', 'agent'],
      ...['--scopes', '/mcp notes:read notes:write', '--scopes', 'https://other.example/mcp other:read'],
      ...[
        '--exchange-serves',
        '/mcp',
        '--exchange-from',
        'desk',
        '--exchange-to',
        'https://other.example/mcp other:read',
      ],
      ...['--exchange-actor', 'agent', '--exchange-upstream', 'google', '--exchange-impersonates'],
      ...['--dpop-bound', '--require-pushed-requests', '--json'],
    ]
    const created = await call('clients', 'create', ...everything)
    expect(created).toMatchObject({ code: 0 })
    const mcp = `${ISSUER}/mcp`
    const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange'
    const said = {
      name: 'Worker',
      uri: 'https://worker.example',
      redirectUris: [],
      grantTypes: ['client_credentials', exchange],
      scopes: { [mcp]: ['notes:read', 'notes:write'], 'https://other.example/mcp': ['other:read'] },
      introspects: [mcp],
      exchange: {
        ...{ serves: [mcp], from: ['desk'], to: { 'https://other.example/mcp': ['other:read'] } },
        ...{ actors: ['agent'], upstream: ['google'], impersonates: true },
      },
      ...{ mayAct: 'agent', dpopBoundAccessTokens: true, requirePushedRequests: true, confidential: true },
    }
    expect(created.json).toEqual([{ ...said, ...{ id: expect.any(String), secret: expect.any(String) }, ...known }])
    const id = String(created.json[0]?.id)
    expect((await call('clients', 'update', id, ...everything)).json).toEqual([{ ...said, id, ...known }])
    const less = await call('clients', 'update', id, '--exchange', '--grant-type', exchange, '--json')
    const nothing = { serves: [], from: [], to: {}, actors: [], impersonates: false }
    expect(less.json).toEqual([
      { ...{ redirectUris: [], grantTypes: [exchange], exchange: nothing, confidential: true, id }, ...known },
    ])
    expect((await call('clients', 'show', id, '--json')).json).toEqual(less.json)
    const jwk = { kty: 'EC', crv: 'P-256', x: 'x', y: 'y', kid: 'one' }
    writeFileSync(`${path}/public`, JSON.stringify(jwk))
    writeFileSync(`${path}/set`, JSON.stringify({ keys: [jwk] }))
    writeFileSync(`${path}/private`, JSON.stringify({ ...jwk, d: 'hunter2' }))
    const scopes = ['--scopes', '/mcp notes:read', '--json']
    for (const [proof, keys] of [
      [['--jwks', `${path}/public`], { jwks: { keys: [jwk] } }],
      [['--jwks', `${path}/set`], { jwks: { keys: [jwk] } }],
      [['--jwks-uri', 'https://worker.example/jwks'], { jwksUri: 'https://worker.example/jwks' }],
    ] as const) {
      const [keyed = {}] = (await call('clients', 'create', ...proof, ...scopes)).json
      expect(keyed).toMatchObject({ confidential: true, keys })
      expect(keyed).not.toHaveProperty('secret')
      expect((await call('clients', 'update', String(keyed.id), ...proof, ...scopes)).json).toEqual([keyed])
    }
    for (const [args, code] of [
      [['update', id, '--public', '--confidential'], 2],
      [['update', id, '--scopes', '/mcp'], 2],
      [['update', id, '--scopes', '/mcp a', '--scopes', '/mcp b'], 2],
      [['update', id, '--exchange-to', ' '], 2],
      [['update', id, '--exchange', '--public'], 1],
      [['update', id, '--exchange', '--jwks', `${path}/absent`], 1],
      [['update', id, '--exchange', '--jwks', `${path}/private`], 1],
      [['update', id, '--exchange', '--jwks', `${path}/public`, '--public'], 1],
      [['update', id, '--exchange', '--jwks-uri', 'http://worker.example/jwks'], 1],
      [['update', id, '--grant-type', 'password'], 1],
      [['update', id, '--scopes', '/mcp admin'], 1],
      [['update', 'unknown', '--exchange'], 1],
      [['update', '--exchange'], 2],
    ] as const) {
      const refused = await call('clients', ...args)
      expect([args, refused.code]).toEqual([args, code])
      expect(refused.error).not.toContain('hunter2')
    }
    expect((await call('clients', 'show', id, '--json')).json).toEqual(less.json)
    forget()
  })

  test('what is no command says so, with exit code 2, and does nothing', async () => {
    const call = cli({})
    for (const args of [
      [],
      ['nothing'],
      ['constructor'],
      ['clients'],
      ['clients', 'toString'],
      ['clients', 'show'],
      ['clients', 'list', 'more'],
      ['clients', 'list', '--unknown'],
      ['clients', 'list', '--store'],
      ['grants', 'list', '--store', 'x'],
      ['keys', 'rotate', '--use', 'all', '--store', 'x'],
      ['accounts', 'find', '--issuer', 'x', '--store', 'x'],
      ['keys', 'list'],
      ['keys', 'list', '--store', 'https://x.example'],
      ['audit', 'query'],
    ]) {
      const { code, out, error } = await call(...args)
      expect([args, code]).toEqual([args, 2])
      expect(out + error).not.toBe('')
    }
    expect((await call('--help')).code).toBe(0)
    expect((await call('--version')).out).toMatch(/^\d+\.\d+\.\d+\n$/)
  })

  test('an id may begin with a hyphen', async () => {
    const { path, remove: forget } = temporaryDirectory()
    const key = secret()
    const server = await createTarget({ store: sqlite(`${path}/db`), secret: key })
    await server.auth.ready()
    await server.auth.close()
    const call = cli({ COUNTERSIGN_STORE: `${path}/db`, COUNTERSIGN_SECRET: key })
    for (const id of ['-AAAAAAAAAAAAAAAAAAAAA', '--AAAAAAAAAAAAAAAAAAAA']) {
      const revoked = await call('grants', 'revoke', id)
      expect([revoked.code, revoked.error]).toEqual([1, expect.stringContaining('no such grant')])
      expect(await call('grants', 'list', '--account', id, '--json')).toMatchObject({ code: 0, json: [] })
    }
    expect((await call('grants', 'list', '--account', '--json')).code).toBe(2)
    forget()
  })
})

test('audit events are found by account, type and time, on both engines', async () => {
  const { path, remove: forget } = temporaryDirectory()
  const logs = [
    [`${path}/audit.db`, sqliteAudit(`${path}/audit.db`)],
    ...('url' in database ? [[database.url, postgresAudit(database.url)] as const] : []),
  ] as const
  for (const [where, auditLog] of logs) {
    const target = await createTarget({ auditLog, clock: undefined })
    const client = await target.register()
    await target.tokens(client)
    await target.auth.close()
    const account = target.events.find((event) => event.type === 'code.issued')
    const id = account?.type === 'code.issued' ? account.account : ''
    const call = cli({ COUNTERSIGN_AUDIT: where })
    const { json, error } = await call('audit', 'query', '--account', id, '--from', '1h', '--oldest-first', '--json')
    expect(error).toBe('')
    expect(json.map(({ type }) => type)).toEqual(expect.arrayContaining(['sign_in.succeeded', 'code.redeemed']))
    expect((await call('audit', 'query', '--to', '1h', '--json')).json).toEqual([])
    expect((await call('audit', 'query', '--limit', '1')).out).toMatch(/more: --cursor \d+/)
    expect((await call('audit', 'query', '--from', 'yesterday')).code).toBe(2)
    expect((await call('audit', 'query', '--limit', '0')).code).toBe(1)
  }
  forget()
})

test('as a program of its own: export into import, through a pipe', async () => {
  const { path, remove: forget } = temporaryDirectory()
  const key = secret()
  const target = await createTarget({ store: sqlite(`${path}/db`), secret: key, clock: undefined })
  await target.register()
  await target.auth.close()
  const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
  const command = `"${process.execPath}" --import tsx "${main}"`
  const shell = `${command} store export | ${command} store import --store '${path}/copy' --json`
  const piped = startProcess('/bin/sh', ['-c', shell], {
    env: { COUNTERSIGN_STORE: `${path}/db`, COUNTERSIGN_SECRET: key },
  })
  expect(await piped.ended).toEqual({ code: 0, signal: null })
  expect(JSON.parse(piped.stdout)).toMatchObject({ imported: expect.any(Number), expired: 0 })
  const refused = startProcess(process.execPath, ['--import', 'tsx', main, 'keys', 'list'], { env: {} })
  expect((await refused.ended).code).toBe(2)
  forget()
})
