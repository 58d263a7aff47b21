import assert from 'node:assert/strict'
import { requireUser, resourceServer } from 'countersign'
import { accessToken, challengeOf, testIssuer, withAccessToken } from 'countersign/testing'

const greet = () => `Hello, ${requireUser().upstream?.claims.name}`

/** A handler is tested without a server, a network or a sign-in. */
export const greetsByName = () => {
  const alice = accessToken({ subject: 'alice', scopes: ['notes:read'], upstream: { claims: { name: 'Alice' } } })
  assert.equal(
    withAccessToken(alice, () => greet()),
    'Hello, Alice',
  )
}

/** A server is tested with an issuer in the same process, and what it refuses by what its clients would read. */
export const asksForMore = async () => {
  const resource = 'https://notes.example.com/mcp'
  const issuer = testIssuer()
  const auth = resourceServer({ resource, issuers: [issuer], tools: { notes_add: ['notes:write'] } })
  const serve = auth.gate(resource, () => new Response('added'))
  const call = (scopes: string[]) =>
    serve(
      new Request(resource, {
        method: 'POST',
        headers: { Authorization: `Bearer ${issuer.accessToken({ scopes }).token}` },
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'notes_add' } }),
      }),
    )
  assert.deepEqual(challengeOf(await call(['notes:read']))?.scopes, ['notes:read', 'notes:write'])
  assert.equal((await call(['notes:write'])).status, 200)
}
