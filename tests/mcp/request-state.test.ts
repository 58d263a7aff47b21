import type { RequestListener } from 'node:http'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { toNodeHandler } from '@modelcontextprotocol/node'
import { createMcpHandler, inputRequired, McpServer } from '@modelcontextprotocol/server'
import express from 'express'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { AuditEvent } from '../../src/events/audit.ts'
import { silentLogger } from '../../src/events/logger.ts'
import type { Auth } from '../../src/http/auth.ts'
import * as onExpress from '../../src/http/express.ts'
import * as onNode from '../../src/http/node.ts'
import { requireUser } from '../../src/identity/context.ts'
import { secretKeys } from '../../src/keys/secret-keys.ts'
import { createBinding } from '../../src/mcp/binding.ts'
import { bindRequests } from '../../src/mcp/bound-requests.ts'
import { accessToken, type MintedFacts, type TestIssuer, testIssuer } from '../../src/testing.ts'
import { resourceServer } from '../../src/verify-only.ts'
import { listen, type Running } from '../http/adapters/servers.ts'

/** A server that keeps what it has to know in `requestState`, in clear: what it asked for is what it is going to do. */
const handler = (auth: Auth, seen: string[]) =>
  createMcpHandler(
    auth.server(() => {
      const server = new McpServer({ name: 'files', version: '1.0.0' })
      server.registerTool(
        'remove',
        { inputSchema: z.object({ file: z.string(), note: z.string().optional() }) },
        ({ file }, ctx) => {
          const state = ctx.mcpReq.requestState()
          if (state === undefined) {
            const confirm = inputRequired.elicit({
              message: `Remove ${file}?`,
              requestedSchema: { type: 'object', properties: { sure: { type: 'boolean' } } },
            })
            return inputRequired({
              inputRequests: { confirm },
              requestState: `asked ${requireUser().subject}: ${file}`,
            })
          }
          seen.push(String(state))
          return { content: [{ type: 'text', text: `removed ${file}` }] }
        },
      )
      server.registerTool('other', { inputSchema: z.object({ file: z.string() }) }, (_args, ctx) => {
        seen.push(String(ctx.mcpReq.requestState()))
        return { content: [] }
      })
      server.registerPrompt('remove', { argsSchema: z.object({ file: z.string() }) }, ({ file }, ctx) => {
        seen.push(String(ctx.mcpReq.requestState()))
        return { messages: [{ role: 'user', content: { type: 'text', text: file } }] }
      })
      return server
    }),
  )

const hosts: Record<string, (auth: Auth, seen: string[]) => RequestListener> = {
  'fetch handler on node:http': (auth, seen) => onNode.listener(auth, { '/mcp': handler(auth, seen) }),
  'by the SDK’s own adapter': (auth, seen) =>
    onNode.listener(auth, { '/mcp': toNodeHandler(handler(auth, seen)) as onNode.NodeHandler }),
  'express with json()': (auth, seen) => {
    const app = express()
    app.use(express.json())
    app.all('/mcp', onExpress.protect(auth, '/mcp', handler(auth, seen)))
    return app
  },
}

const present = (headers: Record<string, string | undefined>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined))

const policies = { 'with a policy': { tools: { admin: ['admin'] } }, 'without a policy': {} }

describe.each(Object.entries(hosts))(
  'fault 23: requestState belongs to its caller and its request (%s)',
  (_host, host) => {
    describe.each(Object.entries(policies))('%s', (_policy, policy) => {
      const issuer: TestIssuer = testIssuer()
      const seen: string[] = []
      let events: AuditEvent[]
      let server: Running
      let url: URL

      beforeAll(async () => {
        server = await listen((origin) => {
          const auth = resourceServer({
            resource: `${origin}/mcp`,
            issuers: [issuer],
            scopes: { admin: 'Everything' },
            audit: (event) => void events.push(event),
            ...policy,
          })
          return host(auth, seen)
        })
        url = new URL(`${server.origin}/mcp`)
      })
      afterAll(() => server.close())
      beforeEach(() => {
        seen.length = 0
        events = []
      })

      const alice = { subject: 'alice', clientId: 'editor' }
      const bearer = (facts: MintedFacts = alice) => `Bearer ${issuer.accessToken(facts).token}`

      const send = (params: object, facts: MintedFacts = alice, method = 'tools/call', headers: object = {}) =>
        fetch(url, {
          method: 'POST',
          headers: present({
            Authorization: bearer(facts),
            Accept: 'application/json, text/event-stream',
            'Content-Type': 'application/json',
            'MCP-Protocol-Version': '2026-07-28',
            'Mcp-Method': method,
            'Mcp-Name': (params as { name: string }).name,
            ...headers,
          }),
          body: JSON.stringify({ jsonrpc: '2.0', id: 7, method, params: { ...params, _meta: meta } }),
        })
      const meta = {
        'io.modelcontextprotocol/protocolVersion': '2026-07-28',
        'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
        'io.modelcontextprotocol/clientCapabilities': { elicitation: { form: {} } },
      }
      const call = { name: 'remove', arguments: { file: 'a.txt', note: 'x' } }
      const answered = { inputResponses: { confirm: { action: 'accept', content: { sure: true } } } }

      /** Asks; answers the state that the client is to hold. */
      const ask = async (): Promise<string> => {
        const response = await send(call)
        expect(response.status).toBe(200)
        const text = await response.text()
        const json = response.headers.get('Content-Type')?.includes('event-stream')
          ? (/^data: (.*)$/m.exec(text)?.[1] ?? '')
          : text
        const { result } = JSON.parse(json) as { result: { resultType: string; requestState: string } }
        expect(result.resultType).toBe('input_required')
        return result.requestState
      }

      test('a real client is asked, answers, and is served', async () => {
        const client = new Client(
          { name: 'test', version: '1.0.0' },
          { capabilities: { elicitation: { form: {} } }, versionNegotiation: { mode: { pin: '2026-07-28' } } },
        )
        const asked: string[] = []
        client.setRequestHandler('elicitation/create', (request) => {
          asked.push(request.params.message)
          return { action: 'accept', content: { sure: true } }
        })
        await client.connect(
          new StreamableHTTPClientTransport(url, { requestInit: { headers: { Authorization: bearer() } } }),
        )
        const result = await client.callTool({ name: 'remove', arguments: { file: 'a.txt' } })
        expect(result).toMatchObject({ content: [{ text: 'removed a.txt' }] })
        expect(asked).toEqual(['Remove a.txt?'])
        expect(seen).toEqual(['asked alice: a.txt'])
        await client.close()
      })

      test('the client can’t read it, and its server gets it as it was', async () => {
        const state = await ask()
        expect(state).toMatch(/^cs_state_[A-Za-z0-9_-]+$/)
        expect(Buffer.from(state.slice(9), 'base64url').toString('latin1')).not.toContain('asked')
        const again = { note: 'x', file: 'a.txt' }
        expect((await send({ ...call, arguments: again, ...answered, requestState: state })).status).toBe(200)
        expect(seen).toEqual(['asked alice: a.txt'])
      })

      test('another token of the same caller may use it', async () => {
        const state = await ask()
        expect(
          (await send({ ...call, ...answered, requestState: state }, { ...alice, scopes: ['admin'] })).status,
        ).toBe(200)
      })

      test.each<[string, MintedFacts]>([
        ['another person', { subject: 'mallory', clientId: 'editor' }],
        ['another client', { subject: 'alice', clientId: 'other' }],
        ['an agent', { ...alice, actor: { issuer: 'https://issuer.test', subject: 'agent' } }],
      ])('%s may not', async (_who, facts) => {
        const response = await send({ ...call, ...answered, requestState: await ask() }, facts)
        expect(response.status).toBe(400)
        expect(await response.json()).toEqual({
          jsonrpc: '2.0',
          id: 7,
          error: {
            code: -32602,
            message: 'Invalid or expired requestState',
            data: { reason: 'invalid_request_state' },
          },
        })
        expect(seen).toEqual([])
        expect(events).toMatchObject([{ reason: 'request_state_mismatch', status: 400, subject: facts.subject }])
      })

      test.each<[string, object, string?]>([
        ['other arguments', { name: 'remove', arguments: { file: 'b.txt', note: 'x' } }],
        ['fewer arguments', { name: 'remove', arguments: { file: 'a.txt' } }],
        ['another tool', { name: 'other', arguments: { file: 'a.txt', note: 'x' } }],
        ['a prompt of the same name', { name: 'remove', arguments: { file: 'a.txt', note: 'x' } }, 'prompts/get'],
      ])('what was confirmed for one call confirms no other: %s', async (_what, params, method) => {
        expect((await send({ ...params, ...answered, requestState: await ask() }, alice, method)).status).toBe(400)
        expect(seen).toEqual([])
      })

      test('what the server did not make is refused, in any form', async () => {
        const state = await ask()
        const [first = '', ...rest] = state.slice(9)
        const forged: unknown[] = [
          ...['asked alice: a.txt', 'cs_state_', `cs_state_${first === 'A' ? 'B' : 'A'}${rest.join('')}`, `${state}A`],
          ...['', null, 1, {}, [state]],
        ]
        for (const requestState of forged) {
          const response = await send({ ...call, ...answered, requestState })
          expect(response.status, JSON.stringify(requestState)).toBe(400)
        }
        expect(seen).toEqual([])
      })

      test('a request that says it is of another time gets no unchecked state in', async () => {
        const params = { ...call, ...answered, requestState: 'asked alice: a.txt' }
        for (const headers of [
          { 'MCP-Protocol-Version': undefined },
          { 'MCP-Protocol-Version': '' },
          { 'MCP-Protocol-Version': undefined, 'Mcp-Method': undefined, 'Mcp-Name': undefined },
          { 'MCP-Protocol-Version': '2025-11-25' },
          { 'MCP-Protocol-Version': '2026-07-27' },
          { 'MCP-Protocol-Version': 'DRAFT' },
          { 'MCP-Protocol-Version': ' 2026-07-28 ' },
          { 'Content-Type': 'text/plain' },
          { 'Content-Type': 'application/json; charset=utf-8' },
          { 'Content-Type': 'application/json ;x' },
        ]) {
          const response = await send(params, alice, 'tools/call', headers)
          expect(response.status, JSON.stringify(headers)).toBeGreaterThanOrEqual(400)
        }
        expect(seen).toEqual([])
      })
    })
  },
)

/** Servers that are no SDK's: they answer what the test says. */
type Said = { status: number; headers: Record<string, string>; body: string }
const plainHosts: Record<string, (auth: Auth, said: () => Said, seen: unknown[]) => RequestListener> = {
  'fetch handler': (auth, said, seen) =>
    onNode.listener(auth, {
      '/mcp': {
        fetch: async (_request, context) => {
          seen.push(context?.parsedBody)
          const { status, headers, body } = said()
          return new Response(body, { status, headers })
        },
      },
    }),
  'handler in Node’s form': (auth, said, seen) =>
    onNode.listener(auth, {
      '/mcp': (_request, response, parsedBody) => {
        seen.push(parsedBody)
        const { status, headers, body } = said()
        response.writeHead(status, headers).end(body)
      },
    }),
}

describe.each(Object.entries(plainHosts))('fault 23: whatever stands behind the gate (%s)', (_host, host) => {
  describe.each(Object.entries(policies))('%s', (_policy, policy) => {
    const issuer: TestIssuer = testIssuer()
    const seen: unknown[] = []
    let said: Said
    let server: Running

    beforeAll(async () => {
      server = await listen((origin) => {
        const resource = `${origin}/mcp`
        const auth = resourceServer({ resource, issuers: [issuer], scopes: { admin: 'Everything' }, ...policy })
        return host(auth, () => said, seen)
      })
    })
    afterAll(() => server.close())
    beforeEach(() => {
      seen.length = 0
      said = { status: 200, headers: { 'Content-Type': 'application/json' }, body: '{}' }
    })

    const send = async (body: string) => {
      const headers = {
        Authorization: `Bearer ${issuer.accessToken().token}`,
        'Content-Type': 'application/json',
        'MCP-Protocol-Version': '2026-07-28',
      }
      const response = await fetch(`${server.origin}/mcp`, { method: 'POST', headers, body })
      return { status: response.status, text: await response.text() }
    }
    const call = '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x"}}'

    test.each(['requestState', 'request\\u0053tate', '\\u0072\\u0065questStat\\u0065'])(
      'attack: no server gives out its state in clear, however it writes it (%s)',
      async (name) => {
        const answer = `{"jsonrpc":"2.0","id":7,"result":{"resultType":"input_required","${name}":"in clear"}}`
        for (const [type, body] of [
          ['application/json', answer],
          ['text/event-stream', `data: ${answer}\n\n`],
        ] as const) {
          said = { status: 200, headers: { 'Content-Type': type }, body }
          const { status, text } = await send(call)
          expect([status, text.includes('in clear')], type).toEqual([200, false])
          const [state = ''] = /cs_state_[\w-]+/.exec(text) ?? []
          await send(call.replace('"x"', `"x","requestState":"${state}"`))
          expect(seen.at(-1), type).toMatchObject({ params: { requestState: 'in clear' } })
        }
      },
    )

    test('what is no message that could be read goes as it came', async () => {
      for (const [headers, body] of [
        [{ 'Content-Type': 'text/plain' }, 'requestState'],
        [{ 'Content-Type': 'application/json', 'Content-Encoding': 'x-own' }, '{"requestState"'],
      ] as const) {
        said = { status: 200, headers, body }
        expect(await send(call)).toEqual({ status: 200, text: body })
      }
    })

    test('attack: nothing that a copy would inherit', async () => {
      for (const body of [
        call.replace('"x"', '"x","__proto__":{"requestState":"made up"}'),
        call.replace('"x"', '"x","__pr\\u006fto__":{"requestState":"made up"}'),
        call.replace('{', '{"__proto__":{"params":{"requestState":"made up"}},'),
        `{"__proto__":${call},"result":{}}`,
        `[${call},{"__proto__":${call},"result":{}}]`,
      ]) {
        expect((await send(body)).status, body).toBe(400)
      }
      expect(seen).toEqual([])
    })
  })
})

describe('fault 23: what is bound', () => {
  let now = 1_700_000_000_000
  const clock = { now: () => now }
  const binding = createBinding(secretKeys(['a secret of the operator, long enough']), clock)

  test('a state ends an hour after it was made', async () => {
    const token = accessToken()
    const sealed = binding.sealState('state', token, 'request')
    now += 3_599_000
    expect(await binding.openState(sealed, token, 'request')).toBe('state')
    now += 1_000
    expect(await binding.openState(sealed, token, 'request')).toBeUndefined()
  })

  test('a state counts whatever the method: servers that don’t look at it would take it', async () => {
    const bound = bindRequests(undefined, () => binding, silentLogger)
    const message = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'x', requestState: 'made up' } }
    const body = JSON.stringify(message)
    const headers = new Headers({ 'content-type': 'application/json', 'mcp-protocol-version': '2026-07-28' })
    for (const method of ['POST', 'post', 'PUT', 'PATCH', 'QUERY']) {
      const request = { method, url: 'https://a.example/mcp', headers, body: new Response(body).body }
      const decision = await bound.decide({ ...request, text: async () => body }, accessToken(), undefined)
      expect(decision, method).toMatchObject({ outcome: 'malformed', reason: 'request_state_mismatch' })
    }
  })

  const text = fc.string({ unit: 'grapheme', maxLength: 60 })
  const facts = fc.record({ issuer: text, subject: text, clientId: text })

  test('any state and any id come back to the same caller, and to no other', async () => {
    const visible = fc.string({
      unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
      minLength: 1,
      maxLength: 80,
    })
    await fc.assert(
      fc.asyncProperty(visible, text, facts, facts, async (id, state, one, two) => {
        const [mine, theirs] = [accessToken(one), accessToken(two)]
        const same = JSON.stringify(one) === JSON.stringify(two)
        const session = binding.issueId('session', id, mine)
        expect(session).toMatch(/^[\x21-\x7e]+$/)
        expect(await binding.readId('session', session, mine)).toBe(id)
        expect(await binding.readId('session', session, theirs)).toBe(same ? id : undefined)
        const sealed = binding.sealState(state, mine, 'r')
        expect(await binding.openState(sealed, mine, 'r')).toBe(state)
        expect(await binding.openState(sealed, theirs, 'r')).toBe(same ? state : undefined)
      }),
    )
  })

  test('whatever one character of it becomes, it opens nothing', async () => {
    const token = accessToken()
    const session = binding.issueId('session', 'the-servers-own', token)
    const sealed = binding.sealState('state', token, 'r')
    const change = (text: string, at: number, by: string) =>
      text.slice(0, at % text.length) + by + text.slice((at % text.length) + 1)
    const character = fc.constantFrom(...'ABab01-_.~')
    await fc.assert(
      fc.asyncProperty(fc.nat(500), character, async (at, by) => {
        const [otherSession, otherState] = [change(session, at, by), change(sealed, at, by)]
        if (otherSession !== session) expect(await binding.readId('session', otherSession, token)).toBeUndefined()
        if (otherState !== sealed) expect(await binding.openState(otherState, token, 'r')).toBeUndefined()
      }),
      { numRuns: 500 },
    )
  })
})
