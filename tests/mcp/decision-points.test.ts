import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { type AuthzenRequest, authzen } from '../../src/mcp/policy/authzen.ts'
import { type CedarEngine, cedar } from '../../src/mcp/policy/cedar.ts'
import type { AccessPolicy } from '../../src/mcp/policy/rule.ts'
import { accessToken, type MintedFacts, testIssuer } from '../../src/testing.ts'
import { resourceServer } from '../../src/verify-only.ts'
import { npmTool } from '../support/npm-tool.ts'

const resource = 'https://notes.example.com/mcp'
const issuer = testIssuer()
const tools = ['read', 'write', 'purge']
const list = { jsonrpc: '2.0', id: 1, result: { tools: tools.map((name) => ({ name })) } }

/** A server with tools, behind a policy. */
const behind = (policy: AccessPolicy) => {
  const auth = resourceServer({ resource, issuers: [issuer], ...policy })
  const gated = auth.gate(resource, (_, { parsedBody }) =>
    Response.json(
      (parsedBody as { method: string }).method === 'tools/list' ? list : { jsonrpc: '2.0', id: 1, result: {} },
    ),
  )
  const send = (facts: MintedFacts, method: string, params: object) =>
    gated(
      new Request(resource, {
        method: 'POST',
        headers: { Authorization: `Bearer ${issuer.accessToken(facts).token}`, 'Content-Type': 'application/json' },
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
      }),
    )
  return {
    call: async (facts: MintedFacts, name: string, args: object = {}) =>
      (await send(facts, 'tools/call', { name, arguments: args })).status,
    async list(facts: MintedFacts) {
      const body = (await (await send(facts, 'tools/list', {})).json()) as typeof list
      return body.result.tools.map(({ name }) => name)
    },
  }
}
const alice = {
  subject: 'alice',
  clientId: 'editor',
  scopes: ['a'],
  upstream: { claims: { groups: ['staff'] } },
} as MintedFacts
const bob = { subject: 'bob', clientId: 'editor' }

describe('an external decision point, by AuthZEN', () => {
  const asked: { url: string | undefined; headers: IncomingMessage['headers']; body: AuthzenRequest }[] = []
  let answer: (request: AuthzenRequest, response: ServerResponse) => void
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = JSON.parse(Buffer.concat(chunks).toString()) as AuthzenRequest
    asked.push({ url: request.url, headers: request.headers, body })
    answer(body, response)
  })
  let url: string
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/pdp/`
  })
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })
  beforeEach(() => {
    asked.length = 0
    answer = ({ subject, resource: { id } }, response) =>
      response.end(JSON.stringify({ decision: subject.id === 'https://issuer.test#alice' && id !== 'purge' }))
  })

  test('decides on calls and lists, and is told who, what and with what', async () => {
    const to = behind({ tools: { '*': authzen({ url, headers: { Authorization: 'Bearer pdp' } }) } })
    expect([
      await to.call(alice, 'read', { id: 7 }),
      await to.call(alice, 'purge'),
      await to.call(bob, 'read'),
    ]).toEqual([200, 403, 403])
    expect(asked[0]).toMatchObject({
      url: '/pdp/access/v1/evaluation',
      headers: { authorization: 'Bearer pdp', 'content-type': 'application/json' },
      body: {
        subject: {
          ...{ type: 'user', id: 'https://issuer.test#alice' },
          properties: {
            issuer: 'https://issuer.test',
            subject: 'alice',
            client_id: 'editor',
            scopes: ['a'],
            claims: { groups: ['staff'] },
          },
        },
        action: { name: 'tools/call' },
        resource: { type: 'tool', id: 'read', properties: { server: resource } },
        context: { arguments: { id: 7 } },
      },
    })
    expect(JSON.stringify(asked)).not.toContain('cs_test_')
    expect(await to.list(alice)).toEqual(['read', 'write'])
    expect(await to.list(bob)).toEqual([])
  })

  test('origin 7: the same subject of another issuer is somebody else, whatever an issuer is called', async () => {
    const ask = authzen({ url })
    const asAlice = (issuer: string, subject = 'alice') =>
      ask(accessToken({ issuer, subject }), { method: 'tools/call', kind: 'tools', name: 'read' })
    expect(await asAlice('https://issuer.test')).toBe(true)
    expect(await asAlice('https://other.test')).toBe(false)
    answer = (_request, response) => response.end('{"decision":true}')
    expect(await asAlice('https://issuer.test#x', 'alice')).toBe(false)
    expect(await asAlice('https://issuer.test', 'x#alice')).toBe(true)
  })

  test.each<[string, typeof answer]>([
    ['an error', (_, response) => response.writeHead(500).end()],
    ['a redirect', (_, response) => response.writeHead(302, { Location: '/yes' }).end()],
    ['no JSON', (_, response) => response.end('yes')],
    ['no decision', (_, response) => response.end('{"decision":"true"}')],
    ['a cut connection', (_, response) => response.destroy()],
    ['no answer', () => {}],
  ])('fails closed: %s', async (_what, broken) => {
    answer = broken
    const to = behind({ tools: { '*': authzen({ url, timeout: 300 }) } })
    expect(await to.call(alice, 'read')).toBe(503)
    expect(await to.list(alice)).toEqual([])
  })

  test('a question of your own making, and options that can’t be right', async () => {
    const question = {
      subject: { type: 'x', id: 'https://issuer.test#alice' },
      action: { name: 'y' },
      resource: { type: 'z', id: '1' },
    }
    const to = behind({ tools: { '*': authzen({ url, request: () => question }) } })
    expect(await to.call(bob, 'purge')).toBe(200)
    expect(asked[0]?.body).toEqual(question)
    expect(() => authzen({ url: 'http://pdp.example.com' })).toThrow(/url/)
    expect(() => authzen({ url, timeout: 60_000 })).toThrow(/timeout/)
  })
})

describe('Cedar, by its own engine', () => {
  let engine: CedarEngine
  beforeAll(async () => {
    const modules = await npmTool('@cedar-policy/cedar-wasm', '4.13.0')
    const folder = join(modules, '@cedar-policy/cedar-wasm/nodejs/cedar_wasm.js')
    engine = createRequire(folder)(folder) as CedarEngine
  })
  const policies = `
    permit (principal is User, action, resource is Tool) when { principal.claims has groups && principal.claims.groups.contains("staff") };
    permit (principal == User::"https://issuer.test#bob", action, resource == Tool::"read");
    forbid (principal, action == Action::"tools/call", resource)
      when { context has arguments && context.arguments has secret && context.arguments.secret };
    forbid (principal, action, resource == Tool::"purge") unless { principal.scopes.contains("admin") };
  `
  const to = () => behind({ tools: { '*': { allow: cedar({ engine, policies }) } } })

  test('decides on calls and lists', async () => {
    const { call, list } = to()
    expect([
      await call(alice, 'write'),
      await call(alice, 'purge'),
      await call({ ...alice, scopes: ['admin'] }, 'purge'),
    ]).toEqual([200, 403, 200])
    expect([await call(bob, 'read'), await call(bob, 'write')]).toEqual([200, 403])
    expect([await call(alice, 'write', { secret: true }), await call(alice, 'write', { secret: false })]).toEqual([
      403, 200,
    ])
    expect(await list(alice)).toEqual(['read', 'write'])
    expect(await list(bob)).toEqual(['read'])
    // A client by itself is no user.
    expect(await call({ subject: 'editor', clientId: 'editor' }, 'read')).toBe(403)
  })

  test('arguments can’t name entities, and what Cedar has no value for decides nothing', async () => {
    const { call } = to()
    for (const args of [
      { secret: { __entity: { type: 'User', id: 'x' } } },
      { deep: [{ __extn: { fn: 'ip', arg: '::1' } }] },
    ]) {
      expect(await call(alice, 'write', args)).toBe(403)
    }
    expect(await call(alice, 'write', { price: 1.5, none: null, list: [1, null, 2.5], big: 1e300 })).toBe(200)
  })

  test('fails closed: a policy that fails, an issuer that could stand for another', async () => {
    const failing = `${policies} forbid (principal, action, resource) when { context.nothing };`
    expect(await behind({ tools: { '*': { allow: cedar({ engine, policies: failing }) } } }).call(alice, 'write')).toBe(
      503,
    )
    expect(() => cedar({ engine, policies: 'permit everything' })).toThrow(/policies/)
    const decide = cedar({ engine, policies: 'permit (principal, action, resource);' })
    const call = { method: 'tools/call', kind: 'tools' as const, name: 'read', arguments: {} }
    expect(decide(issuer.accessToken(alice), call)).toBe(true)
    expect(decide({ ...issuer.accessToken(alice), issuer: 'https://a#b' } as never, call)).toBe(false)
  })
})

test('a function that does not answer lets nobody through, and holds nobody for ever', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  try {
    const to = behind({ tools: { '*': () => new Promise<boolean>(() => {}) } })
    const waiting = to.call(alice, 'read')
    const listed = to.list(alice)
    await vi.advanceTimersByTimeAsync(6_000)
    expect([await waiting, await listed]).toEqual([503, []])
  } finally {
    vi.useRealTimers()
  }
})
