import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { introspection } from '../../src/resource-server/introspection-verifier.ts'
import { jwks } from '../../src/resource-server/jwks-verifier.ts'
import { type JwksIssuer, startJwksIssuer } from '../support/jwks-issuer.ts'

const resource = 'https://notes.example.com/mcp'
let issuer: JwksIssuer
let elsewhere: string
let asked = 0
const server = createServer((_request, response) => {
  response.writeHead(302, { Location: `${issuer.issuer}/jwks` }).end()
})
beforeAll(async () => {
  issuer = await startJwksIssuer(resource)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  elsewhere = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(async () => {
  await issuer.close()
  await new Promise((resolve) => server.close(resolve))
})

test('an issuer can’t send us to another place for its keys, metadata or answers', async () => {
  const token = await issuer.sign()
  const unavailable = { name: 'VerifierUnavailable' }
  asked = issuer.requests.keys
  await expect(jwks(issuer.issuer, { jwksUri: `${elsewhere}/jwks` }).verify(token, resource)).rejects.toMatchObject(
    unavailable,
  )
  await expect(jwks(elsewhere).ready?.()).rejects.toMatchObject(unavailable)
  const asking = introspection(elsewhere, { clientId: 'rs', clientSecret: 's', endpoint: `${elsewhere}/introspect` })
  await expect(asking.verify(token, resource)).rejects.toMatchObject(unavailable)
  expect(issuer.requests.keys).toBe(asked)
})
