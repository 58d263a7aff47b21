import { expect, test } from 'vitest'
import { assertionAlgorithms, mediaTypeOf } from '../../src/oauth/assertion.ts'
import { prefers } from '../../src/oauth/media-type.ts'

const signed = 'application/token-introspection+jwt'
const plain = 'application/json'

test.each([
  signed,
  `${signed}, ${plain}`,
  `${plain}, ${signed}`,
  ` ${signed} ; q=0.5 , ${plain};q=0.5`,
  `${signed.toUpperCase()};Q=1`,
  `${signed};v=1;q=0.9, ${plain};q=0.8`,
  `${signed};v=0;q=0.9`,
  `${signed};q=0.001`,
  `text/html, ${signed}, */*`,
])('preferred by %s', (accept) => {
  expect(prefers(accept, signed, plain)).toBe(true)
})

test.each([
  null,
  '',
  '*/*',
  'application/*',
  plain,
  `${signed};q=0`,
  `${signed};q=0.0, */*`,
  `${signed};q=0.4, ${plain};q=0.5`,
  `${signed};q=2`,
  `${signed};q=-1`,
  `${signed};q=x`,
  `${signed}x`,
  // More ranges than anybody needs are not looked at.
  `${'text/html,'.repeat(64)}${signed}`,
])('not preferred by %s', (accept) => {
  expect(prefers(accept, signed, plain)).toBe(false)
})

test('`application/x` and `x` are one type, in any case, and nothing else is', () => {
  expect(mediaTypeOf('application/JWT')).toBe('jwt')
  expect(mediaTypeOf('oauth-id-jag+JWT')).toBe('oauth-id-jag+jwt')
  expect(mediaTypeOf('x/application/jwt')).toBe('x/application/jwt')
  for (const typ of [undefined, null, 7, {}]) expect(mediaTypeOf(typ)).toBeUndefined()
})

test('assertions are signed with a private key, never with a secret that both sides know', () => {
  expect(assertionAlgorithms).toEqual([
    'RS256',
    'RS384',
    'RS512',
    'PS256',
    'PS384',
    'PS512',
    'ES256',
    'ES384',
    'ES512',
    'EdDSA',
    'Ed25519',
  ])
})
