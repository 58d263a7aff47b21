import { inspect } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OAuthError, oauthErrorBody } from '../../src/oauth/errors.ts'

test('each code has the status that its RFC gives it', () => {
  expect(new OAuthError('invalid_grant', 'x').status).toBe(400)
  expect(new OAuthError('invalid_target', 'x').status).toBe(400)
  expect(new OAuthError('invalid_redirect_uri', 'x').status).toBe(400)
  expect(new OAuthError('invalid_client', 'x').status).toBe(401)
  expect(new OAuthError('invalid_token', 'x').status).toBe(401)
  expect(new OAuthError('insufficient_scope', 'x').status).toBe(403)
  expect(new OAuthError('temporarily_unavailable', 'x').status).toBe(503)
  expect(new OAuthError('invalid_request', 'x', { status: 413 }).status).toBe(413)
})

test('503 says when to come back', () => {
  expect(Number(new OAuthError('temporarily_unavailable', 'x').headers['Retry-After'])).toBeGreaterThan(0)
  expect(new OAuthError('temporarily_unavailable', 'x', { headers: { 'Retry-After': '60' } }).headers).toEqual({
    'Retry-After': '60',
  })
  expect(new OAuthError('invalid_grant', 'x').headers).toEqual({})
})

test('the body has the code and the description, and never the reason', () => {
  const error = new OAuthError('invalid_grant', 'the code is not valid', {
    reason: 'code of another client',
    cause: new Error('row 7'),
  })
  expect(oauthErrorBody(error)).toEqual({ error: 'invalid_grant', error_description: 'the code is not valid' })
  expect(error.reason).toBe('code of another client')
  expect(new OAuthError('invalid_grant', 'the code is not valid').reason).toBe('the code is not valid')
  expect(inspect(error)).toContain('invalid_grant: the code is not valid')
})

test('any description is sent in the characters that RFC 6749 §5.2 allows', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const { error_description: description } = oauthErrorBody(new OAuthError('invalid_request', text))
      expect(description).toMatch(/^[\x20-\x21\x23-\x5b\x5d-\x7e]*$/)
    }),
  )
  expect(oauthErrorBody(new OAuthError('invalid_request', 'say "a\\b"\r\nnow')).error_description).toBe(
    "say 'a/b'??now",
  )
})

test('printed quotation marks and apostrophes are sent as typed ones', () => {
  const { description } = new OAuthError('invalid_request', 'a client’s “own” ‘token’')
  expect(description).toBe("a client's 'own' 'token'")
})

test('what can’t be sent as it is is sent as a question mark, and the cause is kept for the operator', () => {
  const cause = new Error('row 7')
  const error = new OAuthError('invalid_request', 'caf\u00e9', { cause })
  expect(error).toMatchObject({ name: 'OAuthError', description: 'caf?', cause })
  expect('cause' in new OAuthError('invalid_request', 'x')).toBe(false)
  expect(new OAuthError('temporarily_unavailable', 'x').headers).toEqual({ 'Retry-After': '5' })
})
