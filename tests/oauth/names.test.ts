import { expect, test } from 'vitest'
import { idJagProfile, idJagType, jwtBearerGrantType } from '../../src/oauth/assertion.ts'
import { clientAssertionAlgorithms, clientAssertionType } from '../../src/oauth/client-assertion.ts'
import { signedIntrospectionMediaType, signedIntrospectionType } from '../../src/oauth/introspection.ts'
import { knownPrivateUseSchemes } from '../../src/oauth/private-use-schemes.ts'
import { accessTokenType, tokenExchangeGrantType } from '../../src/oauth/token-exchange.ts'

/** Of these, others have copies: a letter that differs is another name. */
test('names are those of the specifications, letter by letter', () => {
  expect(jwtBearerGrantType).toBe('urn:ietf:params:oauth:grant-type:jwt-bearer')
  expect(idJagType).toBe('oauth-id-jag+jwt')
  expect(idJagProfile).toBe('urn:ietf:params:oauth:grant-profile:id-jag')
  expect(clientAssertionType).toBe('urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
  expect(signedIntrospectionType).toBe('token-introspection+jwt')
  expect(signedIntrospectionMediaType).toBe('application/token-introspection+jwt')
  expect(tokenExchangeGrantType).toBe('urn:ietf:params:oauth:grant-type:token-exchange')
  expect(accessTokenType).toBe('urn:ietf:params:oauth:token-type:access_token')
})

test('client assertions are signed with a key of one’s own', () => {
  expect(clientAssertionAlgorithms).toEqual(['RS256', 'ES256', 'EdDSA'])
})

test('the schemes without a dot are those of known apps, and no others', () => {
  expect(knownPrivateUseSchemes).toEqual(['cursor', 'vscode', 'vscode-insiders', 'vscodium', 'windsurf', 'claude'])
})
