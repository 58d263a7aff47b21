import { expect, test } from 'vitest'
import { createAuthInfo } from '../../src/mcp/auth-info.ts'
import { accessToken } from '../../src/testing.ts'

const resource = 'https://notes.example.com/mcp'
const metadata = 'https://notes.example.com/.well-known/oauth-protected-resource/mcp'

test('the SDKs’ AuthInfo, whole also where it is copied', () => {
  const token = accessToken({ resource, clientId: 'a client', scopes: ['notes:read'], expiresAt: 2e9 })
  const whole = {
    token: token.token,
    clientId: 'a client',
    scopes: ['notes:read'],
    expiresAt: 2e9,
    resource: new URL(resource),
    resourceMetadataUrl: metadata,
    extra: { countersign: token },
  }
  expect({ ...createAuthInfo(token, metadata) }).toEqual(whole)
  expect(Object.entries(createAuthInfo(token, metadata))).toEqual(Object.entries(whole))
  expect(JSON.parse(JSON.stringify(createAuthInfo(token, metadata)))).toMatchObject({ resource })
})

test('what a handler changes in it is changed for that request alone', () => {
  const token = accessToken({ resource })
  const [mine, next] = [createAuthInfo(token, metadata), createAuthInfo(token, metadata)]
  expect(mine.resource).toBe(mine.resource)
  mine.resource.pathname = '/other'
  mine.scopes.push('admin')
  mine.extra.more = true
  expect(next).toMatchObject({ resource: new URL(resource), scopes: [...token.scopes], extra: { countersign: token } })
  expect(mine.resource.href).toBe('https://notes.example.com/other')
  mine.resource = new URL('https://elsewhere.example/')
  expect(mine.resource.href).toBe('https://elsewhere.example/')
  expect(next.extra).not.toHaveProperty('more')
})
