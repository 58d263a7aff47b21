import { expect, test } from 'vitest'
import { openid } from '../../src/upstream/openid.ts'
import { ProviderUnavailable } from '../../src/upstream/provider.ts'
import { plainRequest, redirecting, rejection, testContext } from '../upstream/context.ts'

// A provider whose metadata lead elsewhere: to what a neighbour on the network can change, or to what only this server can reach.

const issuer = 'https://id.example.com'

const open = async (metadata: object) => {
  const asked: string[] = []
  const context = await testContext({
    fetch: async (url) => {
      asked.push(String(url))
      return Response.json({
        issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/keys`,
        response_types_supported: ['code'],
        ...metadata,
      })
    },
  })
  const opened = redirecting(openid({ issuer, clientId: 'me', clientSecret: 'a secret' }).open(context))
  return { asked, opened }
}

test.each([
  'http://id.example.com/keys',
  'http://169.254.169.254/latest/',
  'http://127.0.0.1/keys',
  'file:///etc/passwd',
  'keys',
])('keys that are not fetched by https are no keys: %s', async (jwks_uri) => {
  const { asked, opened } = await open({ jwks_uri })
  expect(await rejection(opened.begin(plainRequest))).toBeInstanceOf(ProviderUnavailable)
  expect(await rejection(Promise.resolve(opened.readLogout?.('e30.e30.AAAA')))).toBeInstanceOf(ProviderUnavailable)
  expect(asked.filter((url) => !url.startsWith(`${issuer}/.well-known/`))).toEqual([])
})

test('by https they are, or the above would show nothing', async () => {
  const { opened } = await open({})
  expect((await opened.begin(plainRequest)).url).toContain(`${issuer}/authorize?`)
})
