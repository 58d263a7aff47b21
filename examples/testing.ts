import assert from 'node:assert/strict'
import { requireUser } from 'countersign'
import { accessToken, withAccessToken } from 'countersign/testing'

const greet = () => `Hello, ${requireUser().upstream?.claims.name}`

/** A handler is tested without a server, a network or a sign-in. */
export const greetsByName = () => {
  const alice = accessToken({ subject: 'alice', scopes: ['notes:read'], upstream: { claims: { name: 'Alice' } } })
  assert.equal(
    withAccessToken(alice, () => greet()),
    'Hello, Alice',
  )
}
