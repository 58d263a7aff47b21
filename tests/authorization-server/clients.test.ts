import { describe, expect, test } from 'vitest'
import { type ClientOptions, resolveClients } from '../../src/authorization-server/client-options.ts'
import {
  type CreatedClient,
  createClient,
  deleteClient,
  getClient,
  listClients,
  updateClient,
} from '../../src/authorization-server/clients.ts'
import { listGrants } from '../../src/authorization-server/grant-list.ts'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import { hashSecret } from '../../src/crypto/hash.ts'
import { resolveResources } from '../../src/oauth/resource.ts'
import { memory } from '../../src/store/memory.ts'
import { StoreUnavailable } from '../../src/store/store.ts'
import { stopped } from '../store/movable-clock.ts'
import {
  approved,
  basic,
  callback,
  eventTypes,
  issuer,
  mcp,
  otherMcp,
  postToken,
  redeem,
  refresh,
  registered,
  signedIn,
  type TestServer,
  testServer,
} from '../support/authorization-server.ts'
import { authorizeUrl, personServer, webRedirect } from '../support/person.ts'
import { unreliable } from '../support/unreliable-store.ts'

const secret = 'a client secret of more than 32 characters'

describe('design 1: what was granted to a client ends with it', () => {
  const left = async (to: Awaited<ReturnType<typeof testServer>>) => {
    const prefixes = ['grant/', 'account-grant/', 'client-grant/', 'session-grant/', 'upstream-session/', 'consent/']
    const found = await Promise.all(prefixes.map(async (prefix) => (await to.store.list(prefix)).entries.length))
    return Object.fromEntries(prefixes.map((prefix, index) => [prefix, found[index]]))
  }

  test('its grants, redeemed or not, and the sign-ins that they stood on; no other client’s', async () => {
    const to = await testServer()
    const [client, other] = [await registered(to), await registered(to)]
    const tokens = await signedIn(to, other)
    const before = await left(to)
    for (const person of ['alice', 'bob']) await signedIn(to, client, { person })
    const waiting = await approved(to, client)
    expect((await left(to))['grant/']).toBe((before['grant/'] ?? 0) + 3)
    await deleteClient(to.server, client.client_id)
    expect(await left(to)).toEqual(before)
    const { grants } = await listGrants(to.server, waiting.subject)
    expect(grants.map(({ clientId }) => clientId)).toEqual([other.client_id])
    expect((await refresh(to, other, tokens.refresh_token)).status).toBe(200)
  })

  test('attack: a client of more people than a commit takes ends all the same', async () => {
    const to = await testServer()
    const [client, other] = [await registered(to), await registered(to)]
    await signedIn(to, other)
    const before = await left(to)
    // More than 256 keys have to do with these, and more than one page of grants.
    const people = Array.from({ length: 101 }, (_, number) => `person-${number}`)
    for (const person of people) await approved(to, client, { person })
    expect(await deleteClient(to.server, client.client_id)).toBe(true)
    expect(await left(to)).toEqual(before)
  })

  test('one whose grants were not all ended is taken up again', async () => {
    const clock = stopped()
    const store = unreliable(memory({ clock }))
    const to = await testServer({ clock, store })
    const client = await registered(to)
    await signedIn(to, client)
    const { commit } = to.server.records
    let commits = 0
    const records = {
      ...to.server.records,
      commit: (unit: Parameters<typeof commit>[0]) => {
        if (++commits > 1) throw new StoreUnavailable('away')
        return commit(unit)
      },
    }
    await expect(deleteClient({ ...to.server, records }, client.client_id)).rejects.toThrow(StoreUnavailable)
    expect((await left(to))['grant/']).toBe(1)
    expect(await deleteClient(to.server, client.client_id)).toBe(false)
    expect((await left(to))['grant/']).toBe(0)
  })
})

describe('clients of the configuration', () => {
  const notes: ClientOptions = { id: 'notes-app', name: 'Notes app', redirectUris: [callback], secret }

  test.each([
    ['a secret', notes],
    ['the hash of a secret', { ...notes, secret: undefined, secretHash: hashSecret(secret) }],
  ])('with %s: codes and refreshes, and written to no store', async (_name, client) => {
    const to = await testServer({ clients: [client] })
    const proof = { client_id: 'notes-app', client_secret: secret }
    const tokens = await signedIn(to, proof)
    const rotated = await refresh(to, { client_id: 'notes-app' }, tokens.refresh_token, {}, basic('notes-app', secret))
    expect(rotated.status).toBe(200)
    const verified = await createOwnVerifier(to.server).verify(rotated.body.access_token, mcp)
    expect(verified).toMatchObject({ kind: 'user', clientId: 'notes-app' })
    expect((await to.server.records.store.list('client/')).entries).toEqual([])
  })

  test('who can’t prove to be it gets nothing, and changes nothing', async () => {
    const to = await testServer({ clients: [notes] })
    const code = await approved(to, { client_id: 'notes-app' })
    for (const wrong of [{}, { client_secret: `${secret}.` }, { client_secret: hashSecret(secret) }]) {
      const { status, body } = await redeem(to, { client_id: 'notes-app', ...wrong }, code)
      expect([status, body.error]).toEqual([401, 'invalid_client'])
    }
    const stranger = await registered(to)
    expect((await redeem(to, stranger, code)).body.error).toBe('invalid_grant')
    expect((await redeem(to, { client_id: 'notes-app', client_secret: secret }, code)).status).toBe(200)
  })

  test('taken out of the configuration, it is unknown and its tokens are dead', async () => {
    const store = memory()
    const before = await testServer({ store, clients: [notes] })
    const proof = { client_id: 'notes-app', client_secret: secret }
    const tokens = await signedIn(before, proof)
    const after = await testServer({ store })
    expect((await refresh(after, proof, tokens.refresh_token)).body.error).toBe('invalid_client')
    await expect(createOwnVerifier(after.server).verify(tokens.access_token, mcp)).rejects.toMatchObject({
      reason: 'revoked',
    })
  })

  test('a person reads its name without a warning, and its errors are redirected', async () => {
    const to = await personServer({ clients: [{ id: 'app', name: 'Known app', redirectUris: [webRedirect], secret }] })
    const page = await to.browser().open(authorizeUrl(to))
    expect(page.text).toContain('Known app')
    expect(page.text).toContain('Known to this server')
    expect(page.text).not.toContain('Unverified')
    const refused = await to.browser().open(authorizeUrl(to, { response_type: 'token' }))
    expect(refused.left?.searchParams.get('error')).toBe('unsupported_response_type')
    // Fault 9 for these, too: only where it was configured to be.
    const foreign = await to.browser().open(authorizeUrl(to, { redirect_uri: 'https://evil.example/callback' }))
    expect([foreign.status, foreign.left]).toEqual([400, undefined])
  })

  test.each<[string, Partial<ClientOptions>, string]>([
    ['two secrets', { secretHash: hashSecret(secret) }, 'clients[0]'],
    ['a redirect URI that can’t be used', { redirectUris: ['http://evil.example/'] }, 'clients[0].redirectUris[0]'],
    ['a resource of somebody else', { scopes: { '/other': [] } }, 'clients[0].scopes["/other"]'],
    ['a scope that the resource has not', { scopes: { '/mcp': ['admin'] } }, 'clients[0].scopes["/mcp"]'],
    ['client_credentials without scopes', { grantTypes: ['client_credentials'] }, 'clients[0].scopes'],
    ['client_credentials without a secret', { secret: undefined, scopes: { '/mcp': [] } }, 'clients[0]'],
    ['introspection without a secret', { secret: undefined, introspects: ['/mcp'] }, 'clients[0]'],
    ['refresh tokens alone', { grantTypes: ['refresh_token'] }, 'clients[0].grantTypes'],
    [
      'codes without a redirect URI',
      { redirectUris: [], grantTypes: ['authorization_code'] },
      'clients[0].redirectUris',
    ],
    ['nothing that it could do', { redirectUris: [] }, 'clients[0]'],
  ])('refused at start: %s', (_name, change, path) => {
    const resources = resolveResources(issuer, { '/mcp': { scopes: { 'notes:read': 'Read' } } })
    expect(() => resolveClients([{ ...notes, ...change }], { issuer, resources, privateSchemes: [] })).toThrow(
      expect.objectContaining({ name: 'ConfigurationError', path }),
    )
  })
})

describe('clients from code', () => {
  test('create, get, list, and no secret but once', async () => {
    const to = await testServer({ clients: [{ id: 'fixed', redirectUris: [callback] }] })
    const created = await createClient(to.server, { name: 'Nightly', redirectUris: [callback] })
    const open = await createClient(to.server, { redirectUris: [callback], confidential: false })
    const dynamic = await registered(to)
    expect(created).toMatchObject({ name: 'Nightly', confidential: true, source: 'configured' })
    expect(open.secret).toBeUndefined()
    expect(JSON.stringify(created)).not.toContain(created.secret)
    const { clients, cursor } = await listClients(to.server)
    expect(clients.map(({ id }) => id).sort()).toEqual(['fixed', created.id, open.id, dynamic.client_id].sort())
    expect(cursor).toBeUndefined()
    expect(JSON.stringify(clients)).not.toContain('secretHash')
    expect(await getClient(to.server, created.id)).toMatchObject({ id: created.id, name: 'Nightly' })
    expect(await getClient(to.server, 'unknown')).toBeUndefined()
    await expect(createClient(to.server, { redirectUris: [] })).rejects.toMatchObject({ name: 'ConfigurationError' })
    // It is for good, however long nobody uses it.
    await to.pass(400 * 86_400_000)
    expect(await getClient(to.server, created.id)).toBeDefined()
    expect(await getClient(to.server, dynamic.client_id)).toBeUndefined()
  })

  test.each([true, false])('deleted: all its tokens are dead within the bound (notified: %s)', async (notifies) => {
    const clock = stopped()
    const store = unreliable(memory({ clock }))
    store.notifies = notifies
    const to = await testServer({ clock, store })
    const { id, secret: proof } = await createClient(to.server, { redirectUris: [callback] })
    const client = { client_id: id, ...(proof === undefined ? {} : { client_secret: proof }) }
    const tokens = await signedIn(to, client)
    const other = await signedIn(to, await registered(to))
    const verifier = createOwnVerifier(to.server)
    await verifier.verify(tokens.access_token, mcp)
    expect(await deleteClient(to.server, id)).toBe(true)
    expect(await deleteClient(to.server, id)).toBe(false)
    await to.pass(notifies ? 1_000 : 5_000)
    await expect(verifier.verify(tokens.access_token, mcp)).rejects.toMatchObject({ reason: 'revoked' })
    expect((await refresh(to, client, tokens.refresh_token)).body.error).toBe('invalid_client')
    expect((await verifier.verify(other.access_token, mcp)).kind).toBe('user')
    expect(eventTypes(to)).toEqual(expect.arrayContaining(['client.created', 'client.deleted']))
  })

  describe('updated', () => {
    const own = (to: TestServer, { id, secret: given }: CreatedClient, more: Record<string, string> = {}) =>
      postToken(to, { grant_type: 'client_credentials', client_id: id, client_secret: given ?? '', ...more })

    test('all that it may do is replaced, what is left out is gone; id, secret and what people granted stay', async () => {
      const to = await testServer()
      const created = await createClient(to.server, {
        name: 'Nightly',
        uri: 'https://nightly.example',
        redirectUris: [callback],
        scopes: { '/mcp': ['notes:read'] },
      })
      const client = { client_id: created.id, client_secret: created.secret ?? '' }
      const tokens = await signedIn(to, client)
      const moved = 'https://nightly.example/callback'
      const changed = await updateClient(to.server, created.id, { name: 'Hourly', redirectUris: [moved] })
      expect(changed).toMatchObject({ id: created.id, name: 'Hourly', redirectUris: [moved], confidential: true })
      expect(changed?.createdAt).toBe(created.createdAt)
      for (const gone of ['uri', 'scopes', 'secret']) expect(changed).not.toHaveProperty(gone)
      expect(await getClient(to.server, created.id)).toEqual(changed)
      expect((await own(to, created)).body.error).toBe('unauthorized_client')
      expect((await refresh(to, client, tokens.refresh_token)).status).toBe(200)
      expect(to.events).toContainEqual(
        expect.objectContaining({
          type: 'client.updated',
          clientId: created.id,
          by: 'operator',
          redirectHosts: ['nightly.example'],
        }),
      )
    })

    test.each([true, false])(
      'its tokens are good for what it still may, within the bound (notified: %s)',
      async (notifies) => {
        const clock = stopped()
        const store = unreliable(memory({ clock }))
        store.notifies = notifies
        const to = await testServer({ clock, store })
        const created = await createClient(to.server, { scopes: { '/mcp': ['notes:read', 'notes:write'] } })
        const token = (await own(to, created)).body.access_token
        const verifier = createOwnVerifier(to.server)
        const scopes = async () => (await verifier.verify(token, mcp)).scopes
        expect(await scopes()).toEqual(['notes:read', 'notes:write'])
        // Twice within the time that the log is kept: each is heard.
        await updateClient(to.server, created.id, { scopes: { '/mcp': ['notes:read'] } })
        await to.pass(notifies ? 1_000 : 5_000)
        expect(await scopes()).toEqual(['notes:read'])
        await updateClient(to.server, created.id, { scopes: { [otherMcp]: ['other:read'] } })
        await to.pass(notifies ? 1_000 : 5_000)
        await expect(scopes()).rejects.toMatchObject({ reason: 'revoked' })
        verifier.close()
      },
    )

    test('its proof: kept where nothing is said, made for one that had none, taken away', async () => {
      const to = await testServer()
      const created = await createClient(to.server, { redirectUris: [callback], confidential: false })
      expect(await updateClient(to.server, created.id, { redirectUris: [callback] })).toMatchObject({
        confidential: false,
      })
      const proven = await updateClient(to.server, created.id, { redirectUris: [callback], confidential: true })
      expect(proven?.secret).toMatch(/^cs_cs_/)
      expect(JSON.stringify(proven)).not.toContain(proven?.secret)
      const client = { client_id: created.id, client_secret: proven?.secret ?? '' }
      const tokens = await signedIn(to, client)
      const again = await updateClient(to.server, created.id, { redirectUris: [callback], confidential: true })
      expect(again?.secret).toBeUndefined()
      expect((await refresh(to, { client_id: created.id }, tokens.refresh_token)).body.error).toBe('invalid_client')
      await updateClient(to.server, created.id, { redirectUris: [callback], confidential: false })
      // What it proved when it got the grant is the least that it must prove now.
      expect((await refresh(to, { client_id: created.id }, tokens.refresh_token)).body.error).toBe('invalid_grant')
      expect((await refresh(to, client, tokens.refresh_token)).body.error).toBe('invalid_client')
    })

    test.each(['applied, answer lost', 'lost'] as const)(
      'design 3, read back: a commit whose answer does not come (%s) costs nobody the new secret',
      async (mishap) => {
        const store = unreliable(memory())
        const to = await testServer({ store })
        const settings = { redirectUris: [callback] }
        const created = await createClient(to.server, { ...settings, confidential: false })
        store.mishaps.push(mishap)
        const proven = await updateClient(to.server, created.id, { ...settings, confidential: true })
        expect(proven).toMatchObject({ id: created.id, confidential: true })
        const client = { client_id: created.id, client_secret: proven?.secret ?? '' }
        const tokens = await signedIn(to, client)
        expect((await refresh(to, client, tokens.refresh_token)).status).toBe(200)
        expect(to.events.filter(({ type }) => type === 'client.updated')).toHaveLength(1)
        // While nothing can be written, that is what is said, and nothing is tried for ever.
        store.mishaps.push(...Array.from({ length: 50 }, () => 'lost' as const))
        await expect(updateClient(to.server, created.id, settings)).rejects.toThrow(StoreUnavailable)
      },
    )

    test('what may not be changed here, or into that, stays as it is', async () => {
      const to = await testServer({ clients: [{ id: 'fixed', redirectUris: [callback] }] })
      const created = await createClient(to.server, { redirectUris: [callback] })
      const dynamic = await registered(to)
      const before = [await getClient(to.server, created.id), await getClient(to.server, dynamic.client_id)]
      for (const wrong of [
        {},
        { redirectUris: ['http://evil.example/'] },
        { scopes: { '/mcp': ['admin'] } },
        { scopes: { '/mcp': ['notes:read'] }, confidential: false },
        { redirectUris: [callback], source: 'dynamic' },
        { redirectUris: [callback], id: 'other' },
        { redirectUris: [callback], secretHash: hashSecret(secret) },
      ]) {
        await expect(updateClient(to.server, created.id, wrong)).rejects.toMatchObject({ name: 'ConfigurationError' })
      }
      await expect(updateClient(to.server, 'fixed', { redirectUris: [callback] })).rejects.toThrow('configuration')
      await expect(updateClient(to.server, dynamic.client_id, { redirectUris: [callback] })).rejects.toThrow('itself')
      expect(await updateClient(to.server, 'unknown', { redirectUris: [callback] })).toBeUndefined()
      expect([await getClient(to.server, created.id), await getClient(to.server, dynamic.client_id)]).toEqual(before)
    })

    test('it never brings back one that was deleted meanwhile', async () => {
      const to = await testServer()
      const created = await createClient(to.server, { redirectUris: [callback] })
      const { get } = to.server.records
      const records = {
        ...to.server.records,
        async get(...refs: Parameters<typeof get>) {
          const read = await get(...refs)
          await deleteClient(to.server, created.id)
          return read
        },
      } as typeof to.server.records
      expect(await updateClient({ ...to.server, records }, created.id, { redirectUris: [callback] })).toBeUndefined()
      expect(await getClient(to.server, created.id)).toBeUndefined()
    })
  })

  test.each<[string, object]>([
    ['client.grantTypes[0]: expected one of "authorization_code"', { grantTypes: ['password'] }],
    ['client: expected no member "sekret"', { sekret: 'x' }],
    ['client.redirectUris: expected array, received string', { redirectUris: callback }],
    ['client.uri: expected ', { uri: 'nightly.example' }],
  ])('what is wrong is said in a line: %s', async (message, wrong) => {
    const to = await testServer()
    const settings = { redirectUris: [callback], ...wrong }
    const error = await createClient(to.server, settings).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ name: 'ConfigurationError', message: expect.stringContaining(message) })
    expect(String(error).split('expected')).toHaveLength(2)
  })

  test('one of the configuration can’t be deleted here', async () => {
    const to = await testServer({ clients: [{ id: 'fixed', redirectUris: [callback] }] })
    await expect(deleteClient(to.server, 'fixed')).rejects.toThrow('configuration')
    expect(await getClient(to.server, 'fixed')).toBeDefined()
  })
})
