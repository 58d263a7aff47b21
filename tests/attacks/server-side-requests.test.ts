import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer, type Server } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ClientKeysUnavailable } from '../../src/authorization-server/client-keys.ts'
import { createClientMetadataDocuments } from '../../src/authorization-server/client-metadata-documents.ts'
import { GuardedFetchError } from '../../src/net/guarded-fetch-error.ts'
import { testServer } from '../support/authorization-server.ts'
import { createTarget, type Target, tokensIn, WEB } from './support/target.ts'

// SSRF (MCP security best practices; draft-ietf-oauth-client-id-metadata-document §8.6): client ids that are URLs make this server ask others.

let target: Target
let inside: Server
let port: number
let connections = 0

beforeAll(async () => {
  inside = createServer((socket) => {
    connections++
    socket.destroy()
  })
  inside.listen(0, '127.0.0.1')
  await once(inside, 'listening')
  ;({ port } = inside.address() as AddressInfo)
  target = await createTarget({ clientMetadataDocuments: {} })
})
afterAll(() => inside.close())

const ids = () => [
  ...[
    '127.0.0.1',
    'localhost',
    '[::1]',
    '127.1',
    '2130706433',
    '0x7f000001',
    '0177.0.0.1',
    '0.0.0.0',
    '[::]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    'localhost.',
    '127.0.0.1.',
    '①②⑦.⓪.⓪.①',
    'LOCALHOST',
    'ｌocalhost',
    'localhost%00.example.com',
    'localhost%2eexample.com',
  ].map((host) => `https://${host}:${port}/client.json`),
  `http://127.0.0.1:${port}/client.json`,
  `https://app.example.com@127.0.0.1:${port}/client.json`,
  `https://127.0.0.1:${port}\\@app.example.com/client.json`,
  `https://127.0.0.1:${port}#@app.example.com/client.json`,
  'https://169.254.169.254/latest/meta-data/iam/security-credentials/',
  'https://[fd00:ec2::254]/latest/meta-data/',
  'https://10.0.0.1/client.json',
  'https://192.168.1.1/client.json',
  'https://[fe80::1]/client.json',
  'https://metadata/computeMetadata/v1/',
  'https://app.example.com:22/client.json?'.padEnd(600, 'x'),
  'https://app.example.com',
  'https://app.example.com/',
  'https://app.example.com/../',
  'https://app.example.com/a/../client.json',
  'HTTPS://app.example.com/client.json',
  'https://user:secret@app.example.com/client.json',
  'https://app.example.com/client.json#x',
  ' https://app.example.com/client.json',
  'https:app.example.com/client.json',
  'file:///etc/passwd',
  'gopher://127.0.0.1:25/x',
  'data:application/json,{}',
]

test('at the authorization endpoint, no spelling of an inner address is asked', async () => {
  for (const id of ids()) {
    const visit = await target.browser().open(target.authorizeUrl({ id, redirectUri: WEB }))
    expect([id, visit.status, visit.left]).toEqual([id, 400, undefined])
    expect(visit.html).not.toMatch(/ECONN|169\.254|127\.0\.0\.1/)
  }
  expect(connections).toBe(0)
})

test('at the token endpoint and at revocation, nobody is asked for whom has no grant', async () => {
  for (const id of [...ids(), 'https://app.example.com/client.json']) {
    const answer = await target.refresh({ id, redirectUri: WEB }, 'cs_rt_x')
    expect([id, [400, 401].includes(answer.status), tokensIn(answer)]).toEqual([id, true, []])
    // What is no token of ours is answered like one that was.
    const revocation = await target.post('/revoke', { client_id: id, token: 'x' })
    expect([id, [200, 400, 401].includes(revocation.status)]).toEqual([id, true])
  }
  expect(connections).toBe(0)
})

test('whom the operator’s rules forbid is not asked for keys either, whatever a document or an old registration names', async () => {
  const { server } = await testServer()
  const { records, random, audit, logger } = server
  const asked: string[] = []
  const fetch = async (url: string) => {
    asked.push(url)
    throw new GuardedFetchError('unreachable', 'for this test')
  }
  const look = (jwksUri: string, rules: object) =>
    createClientMetadataDocuments({
      records,
      random,
      audit,
      logger,
      newFetch: () => fetch,
      privateSchemes: [],
      rules,
    }).keys(...([{ jwksUri }, { alg: 'ES256' }, { payload: '', signature: '' }, 0] as const))
  const inner = 'https://keys.inner.example.net/jwks'
  for (const rules of [{ deny: ['*.inner.example.net'] }, { allow: ['app.example.com'] }]) {
    expect(await look(inner, rules)).toEqual([])
  }
  expect(await look('http://app.example.com/jwks', {})).toEqual([])
  expect(asked).toEqual([])
  await expect(look(inner, {})).rejects.toThrow(ClientKeysUnavailable)
  expect(asked).toEqual([inner])
})
