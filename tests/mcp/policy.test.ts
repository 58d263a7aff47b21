import { describe, expect, test } from 'vitest'
import { policy } from '../../examples/policy.ts'
import { type Logger, silentLogger } from '../../src/events/logger.ts'
import type { AccessToken } from '../../src/identity/access-token.ts'
import type { AccessPolicy, PolicyCall } from '../../src/mcp/policy/rule.ts'
import { requestPolicy } from '../../src/mcp/request-policy.ts'
import { ConfigurationError } from '../../src/oauth/configuration-error.ts'
import { accessToken, clientToken, testIssuer } from '../../src/testing.ts'
import { resourceServer } from '../../src/verify-only.ts'

const url = 'https://notes.example.com/mcp'

const decide = async (
  policy: AccessPolicy,
  message: object,
  token: AccessToken = accessToken(),
  logger: Logger = silentLogger,
) => {
  const decider = requestPolicy(policy, logger) ?? expect.fail('no policy')
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, ...message })
  return decider.decide(new Request(url, { method: 'POST', body }), token, undefined)
}

const outcome = async (...args: Parameters<typeof decide>): Promise<string> => {
  const decision = await decide(...args)
  switch (decision.outcome) {
    case 'insufficient_scope':
      return decision.scopes.join(' ')
    case 'allow':
      return 'allow'
    default:
      return decision.reason
  }
}

const call = (name: string, args: object = {}) => ({ method: 'tools/call', params: { name, arguments: args } })
const read = (uri: string) => ({ method: 'resources/read', params: { uri } })
const get = (name: string) => ({ method: 'prompts/get', params: { name } })

describe('which rules count', () => {
  const tools = { 'notes_*': ['notes'], '*_add': ['write'], notes_all: ['admin'], whoami: [] }
  test.each<[string, string]>([
    ['notes_list', 'notes'],
    ['todo_add', 'write'],
    ['notes_add', 'notes write'],
    ['notes_all', 'admin'],
    ['whoami', 'allow'],
    ['other', 'allow'],
    ['Notes_list', 'allow'],
    ['__proto__', 'allow'],
  ])('%s needs %s', async (name, expected) => {
    expect(await outcome({ tools }, call(name))).toBe(expected)
  })

  test.each<[string, object, string]>([
    ['a tool', call('other'), 'policy_unlisted'],
    ['a listed tool', call('whoami'), 'allow'],
    ['a prompt', get('greet'), 'policy_unlisted'],
    ['a resource', read('notes://1'), 'policy_unlisted'],
    ['a resource subscription', { method: 'resources/subscribe', params: { uri: 'notes://1' } }, 'policy_unlisted'],
    ['a method that nobody knows', { method: 'vendor/execute', params: {} }, 'policy_unlisted'],
    ['a list', { method: 'tools/list' }, 'allow'],
    ['an initialization', { method: 'initialize', params: {} }, 'allow'],
    ['a very long name', call('x'.repeat(5000)), 'policy_unlisted'],
  ])('what is not named is denied where the default says so: %s', async (_, message, expected) => {
    expect(await outcome({ tools, unlisted: 'deny' }, message)).toBe(expected)
  })

  test('a name cannot make matching expensive', async () => {
    const pattern = `${'a*'.repeat(20)}b`
    // Of this process alone: a busy machine has much else to do.
    const started = process.cpuUsage()
    expect(await outcome({ tools: { [pattern]: ['x'] } }, call('a'.repeat(2000)))).toBe('allow')
    expect(process.cpuUsage(started).user).toBeLessThan(1_000_000)
  })

  test('a scope holds what it implies, in any number of steps and round in circles', async () => {
    const policy: AccessPolicy = {
      tools: { list: ['read'], purge: ['admin'] },
      implies: { admin: ['write'], write: ['read'], read: ['read', 'write'] },
    }
    expect(await outcome(policy, call('list'), accessToken({ scopes: ['admin'] }))).toBe('allow')
    expect(await outcome(policy, call('purge'), accessToken({ scopes: ['write'] }))).toBe('admin')
    expect(await outcome(policy, call('list'), accessToken({ scopes: ['other'] }))).toBe('read')
  })
})

describe('what a rule asks of its caller', () => {
  const agent = { issuer: 'https://issuer.test', subject: 'agent' }
  const upstream = (claims: object) => accessToken({ upstream: { claims } })
  test.each<[string, NonNullable<AccessPolicy['tools']>[string], AccessToken, string]>([
    ['a person, for a person', { kind: 'user' }, accessToken(), 'allow'],
    ['an agent for a person, for a person', { kind: 'user' }, accessToken({ actor: agent }), 'allow'],
    ['a client by itself, for a person', { kind: 'user' }, clientToken(), 'policy_kind'],
    ['a person, no agent', { actor: false }, accessToken(), 'allow'],
    ['an agent, no agent', { actor: false }, accessToken({ actor: agent }), 'policy_actor'],
    ['a person, agents alone', { actor: true }, accessToken(), 'policy_actor'],
    ['its client', { clients: ['a', 'b'] }, accessToken({ clientId: 'b', subject: 'x' }), 'allow'],
    ['another client', { clients: ['a', 'b'] }, accessToken({ clientId: 'c', subject: 'x' }), 'policy_client'],
    ['no client at all', { clients: [] }, accessToken(), 'policy_client'],
    ['one of the groups', { groups: ['admins', 'ops'] }, upstream({ groups: ['users', 'ops'] }), 'allow'],
    ['none of the groups', { groups: ['admins'] }, upstream({ groups: ['users'] }), 'policy_groups'],
    ['groups that are not said', { groups: ['admins'] }, upstream({}), 'policy_groups'],
    ['groups that are a string', { groups: ['admins'] }, upstream({ groups: 'xadminsx' }), 'policy_groups'],
    ['a claim', { claims: { hd: 'example.com' } }, upstream({ hd: 'example.com' }), 'allow'],
    ['another claim', { claims: { hd: 'example.com' } }, upstream({ hd: 'example.org' }), 'policy_claims'],
    [
      'a claim of another type',
      { claims: { email_verified: true } },
      upstream({ email_verified: 'true' }),
      'policy_claims',
    ],
    ['an inherited name', { claims: { constructor: 'x' } }, upstream({}), 'policy_claims'],
    [
      'a claim of a token without upstream',
      { claims: { roles: 'w' } },
      accessToken({ claims: { roles: ['w'] } }),
      'allow',
    ],
    [
      'a claim that the provider did not say, though the token has one of that name',
      { claims: { hd: 'example.com' } },
      accessToken({ claims: { hd: 'example.com' }, upstream: { claims: {} } }),
      'policy_claims',
    ],
    ['the scope, too', { scopes: ['write'], kind: 'user' }, accessToken(), 'write'],
    ['what no scope would help', { scopes: ['write'], kind: 'user' }, clientToken(), 'policy_kind'],
    ['a function', () => true, accessToken(), 'allow'],
    ['a function later', async () => true, accessToken(), 'allow'],
    ['a function that refuses', async () => false, accessToken(), 'policy_function'],
    [
      'a function that answers something else',
      (() => 'yes') as unknown as () => boolean,
      accessToken(),
      'policy_function',
    ],
    [
      'a function only after the scopes',
      {
        scopes: ['w'],
        allow: () => {
          throw new Error('asked')
        },
      },
      accessToken(),
      'w',
    ],
  ])('%s', async (_, rule, token, expected) => {
    expect(await outcome({ tools: { tool: rule } }, call('tool'), token)).toBe(expected)
  })

  test.each<[string, object, string]>([
    ['one that is allowed', { folder: 'inbox' }, 'allow'],
    ['another', { folder: 'trash' }, 'policy_arguments'],
    ['none', {}, 'policy_arguments'],
    ['a list', { folder: ['inbox'] }, 'policy_arguments'],
  ])('arguments: %s', async (_, args, expected) => {
    const tools = { move: { arguments: { folder: ['inbox', 'work'] } } }
    expect(await outcome({ tools }, call('move', args))).toBe(expected)
  })

  test('an argument that is there twice means two things', async () => {
    const policy = requestPolicy({ tools: { move: { arguments: { folder: 'inbox' } } } }, silentLogger)
    const body = '{"method":"tools/call","params":{"name":"move","arguments":{"folder":"trash","folder":"inbox"}}}'
    const decision = await policy?.decide(new Request(url, { method: 'POST', body }), accessToken(), undefined)
    expect(decision).toMatchObject({ outcome: 'malformed', reason: 'duplicate_keys' })
  })

  test('a function sees who calls what', async () => {
    const seen: [AccessToken, PolicyCall][] = []
    const token = accessToken()
    const allow = (...args: [AccessToken, PolicyCall]) => seen.push(args) > 0
    await decide({ tools: { 'a*': allow } }, call('add', { n: 1 }), token)
    expect(seen).toEqual([[token, { method: 'tools/call', kind: 'tools', name: 'add', arguments: { n: 1 } }]])
  })

  test('a function that throws lets nobody through: 503, and its text stays here', async () => {
    const issuer = testIssuer()
    const policies: AccessPolicy[] = [
      { tools: { add: () => Promise.reject(new Error('secret')) } },
      {
        tools: {
          add: () => {
            throw new Error('secret')
          },
        },
      },
    ]
    for (const policy of policies) {
      const auth = resourceServer({ resource: url, issuers: [issuer], ...policy })
      const handler = auth.gate('/mcp', () => expect.fail('dispatched'))
      const headers = { Authorization: `Bearer ${issuer.accessToken().token}`, 'Content-Type': 'application/json' }
      const body = JSON.stringify({ jsonrpc: '2.0', id: 1, ...call('add') })
      const response = await handler(new Request(url, { method: 'POST', headers, body }))
      expect(response.status).toBe(503)
      expect(await response.text()).not.toContain('secret')
    }
  })

  test('where no scope would help, 403 without a challenge', async () => {
    const issuer = testIssuer()
    const auth = resourceServer({ resource: url, issuers: [issuer], tools: { add: { scopes: ['w'], actor: true } } })
    const handler = auth.gate('/mcp', () => expect.fail('dispatched'))
    const headers = { Authorization: `Bearer ${issuer.accessToken().token}`, 'Content-Type': 'application/json' }
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, ...call('add') })
    const response = await handler(new Request(url, { method: 'POST', headers, body }))
    expect(response.status).toBe(403)
    expect(response.headers.has('WWW-Authenticate')).toBe(false)
  })
})

describe('prompts, completions and subscriptions', () => {
  const policy: AccessPolicy = { prompts: { 'admin_*': ['admin'] }, resources: { 'notes://{id}': ['read'] } }
  const complete = (ref: object) => ({
    method: 'completion/complete',
    params: { ref, argument: { name: 'a', value: '' } },
  })
  test.each<[object, string]>([
    [get('admin_reset'), 'admin'],
    [get('greet'), 'allow'],
    [complete({ type: 'ref/prompt', name: 'admin_reset' }), 'admin'],
    [complete({ type: 'ref/resource', uri: 'notes://{id}' }), 'read'],
    [complete({ type: 'ref/resource', uri: 'other://{id}' }), 'allow'],
    [complete({ type: 'ref/other' }), 'nameless_call'],
    [{ method: 'resources/subscribe', params: { uri: 'notes://1' } }, 'read'],
    [
      { method: 'subscriptions/listen', params: { notifications: { resourceSubscriptions: ['x://1', 'notes://1'] } } },
      'read',
    ],
    [
      { method: 'subscriptions/listen', params: { notifications: { resourceSubscriptions: 'notes://1' } } },
      'nameless_call',
    ],
    [{ method: 'subscriptions/listen', params: { notifications: { toolsListChanged: true } } }, 'allow'],
  ])('%j: %s', async (message, expected) => {
    expect(await outcome(policy, message)).toBe(expected)
  })
})

describe('resources, however their URI is written', () => {
  const resources = {
    'notes://secret': ['admin'],
    'notes://team/{name}': ['team'],
    'https://files.example/public/*': [],
  }
  test.each<[string, string]>([
    ['notes://secret', 'admin'],
    ['NOTES://secret', 'admin'],
    ['notes://secre%74', 'admin'],
    ['notes://secre%2574', 'admin'],
    ['notes://secret/', 'admin'],
    ['notes://secret?', 'admin'],
    ['notes://secret?x=1', 'admin'],
    ['notes://secret#x', 'admin'],
    ['notes://me@secret', 'admin'],
    ['notes://secret:80', 'admin'],
    [' notes://secret', 'admin'],
    ['no\ttes://secret', 'admin'],
    ['notes://secret\n', 'admin'],
    ['notes://secret/x/..', 'admin'],
    ['notes://secret/x/%2e%2e', 'admin'],
    ['notes://secret/x%2f..', 'admin'],
    ['notes://secret/x%5c..', 'admin'],
    ['notes://team/a', 'team'],
    ['notes://team/a%2Fb', 'team'],
    ['notes://te%61m/a', 'team'],
    ['notes://team/x/../a', 'team'],
    ['notes://team/', 'team'],
    ['notes://team/a/b', 'allow'],
    ['notes://secrets', 'allow'],
    [`notes://%${'25'.repeat(9)}41`, 'policy_function'],
    [`notes://${'x'.repeat(3000)}`, 'policy_function'],
  ])('%j needs %s', async (uri, expected) => {
    expect(await outcome({ resources }, read(uri))).toBe(expected)
  })

  test.each<[string, string]>([
    ['notes://team/a', 'team'],
    ['notes://team/a%2Fb', 'team'],
    ['notes://team/a/b', 'policy_unlisted'],
    ['https://files.example/public/a/b.txt', 'allow'],
    ['https://files.example/public/a%20b', 'allow'],
    ['https://FILES.example/public/a', 'policy_unlisted'],
    ['https://files.example/public/../private', 'policy_unlisted'],
    ['https://files.example/public/%2e%2e/private', 'policy_unlisted'],
    ['https://files.example/public/..%2fprivate', 'policy_unlisted'],
    ['https://files.example/public/..%252fprivate', 'policy_unlisted'],
    ['https://files.example/public/..%5cprivate', 'policy_unlisted'],
    ['https://me@files.example/public/a', 'policy_unlisted'],
    ['notes://team@other/a', 'policy_unlisted'],
    ['not a uri', 'policy_unlisted'],
    ['', 'policy_unlisted'],
  ])('where the default is deny: %j needs %s', async (uri, expected) => {
    expect(await outcome({ resources, unlisted: 'deny' }, read(uri))).toBe(expected)
  })

  test.each(['notes://ü', 'file:///a b/c.txt', 'https://example.com', 'urn:isbn:123', 'db://me@host:5432/t?x=1#y'])(
    'a URI that is named as it is written is listed: %s',
    async (uri) => {
      const policy: AccessPolicy = { resources: { [uri]: [] }, unlisted: 'deny' }
      expect(await outcome(policy, read(uri))).toBe('allow')
      expect(await outcome(policy, read(new URL(uri).href))).toBe('allow')
    },
  )
})

test('where nothing is required there is no policy', () => {
  expect(requestPolicy({ tools: {}, resources: {}, prompts: {}, unlisted: 'allow' }, silentLogger)).toBeUndefined()
})

test.each<[string, object]>([
  ['a scope that the resource does not have', { tools: { a: ['x'] } }],
  ['the same in a rule', { prompts: { a: { scopes: ['x'] } } }],
  ['the same among implied ones', { implies: { r: ['x'] } }],
  ['a member that nobody reads', { resources: { a: { scope: ['r'] } } }],
])('%s is refused at start', (_, options) => {
  const start = () => resourceServer({ resource: url, issuers: [testIssuer()], scopes: { r: 'Read' }, ...options })
  expect(start).toThrow(ConfigurationError)
})

test.each<[string, object]>([
  ['unlisted: expected one of "allow"|"deny"', { unlisted: 'denied' }],
  ['lists: expected one of', { lists: 'usabel' }],
  ['options: expected no member "tool"', { tool: { a: ['r'] } }],
  ['tools: expected record', { tools: ['a'] }],
  ['tools.a: expected a list of scopes, a rule with known members, or a function', { tools: { a: 'r' } }],
  ['tools.a: expected', { tools: { a: null } }],
  ['tools.a: expected', { tools: { a: { scopes: 'r' } } }],
  ['tools.a: expected', { tools: { a: { clients: 'one' } } }],
  ['prompts.a: expected', { prompts: { a: { kind: 'users' } } }],
  ['resources.a: expected', { resources: { a: { actor: 'no' } } }],
  ['implies.r: expected', { implies: { r: 'r' } }],
  ['hosts[0]: expected a value of Host', { hosts: ['https://proxy.example.com'] }],
  ['hosts: expected array', { hosts: 'proxy.example.com' }],
  ['origins[0]: expected an origin like', { origins: ['app.example.com'] }],
  ['origins[1]: expected', { origins: ['chrome-extension://abc', '*'] }],
  ['dpopNonces: expected boolean', { dpopNonces: 'no' }],
  ['issuers: expected a list', { issuers: testIssuer() }],
  ['issuers: expected a list', { issuers: ['https://issuer.example.com'] }],
])('what nobody would apply is refused at start, also where no compiler looks: %s', (message, options) => {
  const start = () =>
    resourceServer({ resource: url, issuers: [testIssuer()], scopes: { r: 'Read' }, ...options } as never)
  expect(start).toThrow(ConfigurationError)
  expect(start).toThrow(message)
})

test('what hosts and origins may be', () => {
  const hosts = ['proxy.example.com', 'proxy.example.com:8443', '[::1]:80', 'localhost']
  const origins = ['https://app.example.com', 'http://127.0.0.1:6274', 'vscode-webview://abc', 'chrome-extension://abc']
  const options = { resource: url, issuers: [testIssuer()], hosts, origins, tools: undefined, secret: undefined }
  expect(() => resourceServer(options as never)).not.toThrow()
})

describe('the policy that the README shows', () => {
  const token = (scopes: string[], claims = {}, more = {}) =>
    accessToken({ scopes, upstream: { claims: { email_verified: true, ...claims } }, ...more })
  const agent = { issuer: 'https://issuer.test', subject: 'agent' }
  const admin = { groups: ['admins'] }
  test.each<[object, AccessToken, string]>([
    [call('whoami'), token([]), 'allow'],
    [call('notes_list'), token([]), 'notes:read'],
    [call('notes_list'), token(['notes:write']), 'allow'],
    [call('notes_add', { visibility: 'team' }), token(['notes:write']), 'allow'],
    [call('notes_add', { visibility: 'public' }), token(['notes:write']), 'policy_arguments'],
    [call('notes_purge'), token(['notes:write'], admin), 'allow'],
    [call('notes_purge'), token(['notes:write'], admin, { actor: agent }), 'policy_actor'],
    [call('notes_purge'), token(['notes:write']), 'policy_groups'],
    [call('notes_move', { folder: 'payroll' }), token(['notes:write']), 'policy_function'],
    [call('other'), token(['notes:write']), 'policy_unlisted'],
    [read('notes://7'), token(['notes:read']), 'allow'],
    [get('greet'), token([], { email_verified: false }), 'policy_claims'],
  ])('%j', async (message, caller, expected) => {
    expect(await outcome(policy, message, caller)).toBe(expected)
  })
})
