import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Balancer, startBalancer } from './support/balancer.ts'
import { type Application, authorize, browserOf, createApplication } from './support/oauth-client.ts'
import { connectV2, type McpClient } from './support/sdk-clients.ts'
import { startServer, type TestServer } from './support/server.ts'

const mcpHeaders = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
const listTools = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' })

// Two processes on one database, and every request at one of them in turn.
describe('two nodes behind a balancer', () => {
  let balancer: Balancer
  const nodes: TestServer[] = []
  let url = ''
  beforeAll(async () => {
    balancer = await startBalancer()
    const data = mkdtempSync(join(tmpdir(), 'countersign-nodes-'))
    for (let node = 0; node < 2; node++) {
      nodes.push(await startServer({ script: 'sdk-v2.ts', data, env: { PUBLIC_URL: balancer.origin } }))
    }
    balancer.nodes.push(...nodes.map((node) => node.port))
    url = `${balancer.origin}/mcp`
  })
  afterAll(async () => {
    for (const node of nodes) await node.dispose()
    await balancer?.close()
  })

  const demo = () => nodes[0]?.demo ?? { username: '', password: '' }

  async function connected(): Promise<{ application: Application; client: McpClient }> {
    const application = createApplication()
    const browser = browserOf(application)
    const client = await connectV2(url, application, () => authorize(application, browser, demo()))
    return { application, client }
  }

  const post = (path: string, parameters: Record<string, string>) =>
    fetch(`${balancer.origin}${path}`, { method: 'POST', body: new URLSearchParams(parameters) })

  /** What each node's gate answers to this token. */
  const statuses = (token: string) =>
    Promise.all(
      nodes.map(async (_node, index) => {
        const headers = { authorization: `Bearer ${token}`, 'x-node': String(index), ...mcpHeaders }
        const response = await fetch(url, { method: 'POST', headers, body: listTools })
        await response.body?.cancel()
        return response.status
      }),
    )

  it('design 3, revocation: what is revoked at one is refused at both, within the second that is promised', async () => {
    // The nodes hear of it within the second; where a busy machine lets one of them sleep longer than that, nobody can.
    for (let attempt = 1; ; attempt++) {
      const { application, client } = await connected()
      const { access_token: token = '' } = application.kept.tokens ?? {}
      expect(await statuses(token)).toEqual([200, 200])
      await client.close()

      const revocation = await post('/revoke', { token, client_id: application.kept.client?.client_id ?? '' })
      expect(revocation.status).toBe(200)
      await sleep(1_000)
      const after = await statuses(token)
      if (attempt < 5 && after.includes(200)) continue
      expect(after).toEqual([401, 401])
      return
    }
  })

  it('fault 6: the streams of a grant that is revoked at one end at both', async () => {
    const { application, client } = await connected()
    await client.close()
    const { access_token = '', refresh_token: token = '' } = application.kept.tokens ?? {}
    const listen = (node: number) =>
      fetch(url, {
        method: 'POST',
        headers: {
          ...{ authorization: `Bearer ${access_token}`, 'x-node': String(node), ...mcpHeaders },
          ...{ 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'subscriptions/listen' },
        },
        body: JSON.stringify({
          ...{ jsonrpc: '2.0', id: 1, method: 'subscriptions/listen' },
          params: {
            notifications: { toolsListChanged: true },
            _meta: {
              'io.modelcontextprotocol/protocolVersion': '2026-07-28',
              'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1.0.0' },
              'io.modelcontextprotocol/clientCapabilities': {},
            },
          },
        }),
      })
    const streams = await Promise.all(nodes.map((_node, index) => listen(index)))
    for (const { status, headers } of streams) {
      expect([status, headers.get('content-type')]).toEqual([200, 'text/event-stream'])
    }
    const ended = Promise.all(streams.map((each) => each.text()))
    const client_id = application.kept.client?.client_id ?? ''
    expect((await post('/revoke', { token, client_id })).status).toBe(200)
    await ended
  })

  it('fault 1: of 8 redemptions of one code at both, one succeeds, and its tokens stay good', async () => {
    const application = createApplication()
    await expect(connectV2(url, application, () => Promise.reject(new Error('stop here')))).rejects.toThrow('stop here')
    const answer = await authorize(application, browserOf(application), demo())
    const responses = await Promise.all(
      Array.from({ length: 8 }, () =>
        post('/token', {
          grant_type: 'authorization_code',
          code: answer.get('code') ?? '',
          redirect_uri: application.redirectUrl,
          client_id: application.kept.client?.client_id ?? '',
          code_verifier: application.kept.verifier ?? '',
        }),
      ),
    )
    expect(responses.map(({ status }) => status).sort()).toEqual([200, 400, 400, 400, 400, 400, 400, 400])
    const won = responses.find(({ status }) => status === 200)
    const { access_token: token = '' } = ((await won?.json()) ?? {}) as { access_token?: string }
    expect(await statuses(token)).toEqual([200, 200])
  })

  it('fault 2: of 8 refreshes of one token at both, all get the same successor, and each access token works at both', async () => {
    const { application, client } = await connected()
    await client.close()
    const { refresh_token: token = '' } = application.kept.tokens ?? {}
    const id = application.kept.client?.client_id ?? ''
    const refreshes = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const response = await post('/token', { grant_type: 'refresh_token', refresh_token: token, client_id: id })
        expect(response.status).toBe(200)
        return (await response.json()) as { access_token: string; refresh_token: string }
      }),
    )
    expect(new Set(refreshes.map((each) => each.refresh_token)).size).toBe(1)
    for (const { access_token: each } of refreshes) expect(await statuses(each)).toEqual([200, 200])
  })

  it('one that is killed takes nothing along: the other goes on, and what was answered is known', async () => {
    const { application, client } = await connected()
    const before = await client.call('whoami')
    const { refresh_token: token = '' } = application.kept.tokens ?? {}
    const id = application.kept.client?.client_id ?? ''
    const response = await post('/token', { grant_type: 'refresh_token', refresh_token: token, client_id: id })
    application.kept.tokens = (await response.json()) as NonNullable<typeof application.kept.tokens>

    const [killed] = nodes
    expect(await killed?.stop('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' })
    expect(await client.call('whoami')).toMatchObject({ subject: before.subject, clientId: before.clientId })
    const again = { grant_type: 'refresh_token', client_id: id }
    const { refresh_token: next = '' } = application.kept.tokens
    expect((await post('/token', { ...again, refresh_token: next })).status).toBe(200)

    await killed?.start()
    expect(await statuses(application.kept.tokens.access_token)).toEqual([200, 200])
    await client.close()
  })
})
