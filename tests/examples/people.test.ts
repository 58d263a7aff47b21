import { memory } from 'countersign/store/memory'
import { afterAll, expect, test } from 'vitest'
import { authForPeople } from '../../examples/people.ts'
import { TestBrowser } from '../support/browser.ts'
import { authorizeUrl } from '../support/person.ts'

const url = 'http://localhost:3000'
// Nobody is asked before somebody signs in there.
const acme = { issuer: 'https://sso.acme.example', clientId: 'notes', clientSecret: 'a secret' }
const auth = authForPeople(url, memory(), acme)
afterAll(() => auth.close())

test('the pages of the example: in German, with what comes with what, and a field for the address', async () => {
  const redirect = 'https://app.example.net/callback'
  const { id } = await auth.clients.create({ name: 'App', redirectUris: [redirect], confidential: false })
  const browser = new TestBrowser((request) => auth.respond(request), url)
  const asked = { client_id: id, redirect_uri: redirect, scope: 'notes:write', ui_locales: 'de' }
  const consent = await browser.open(authorizeUrl({ issuer: url }, asked))
  expect(consent.text).toContain('App die Nutzung von Notes erlauben?')
  expect(consent.text).toContain('Deine Notizen lesen Comes with “Add and change your notes”')
  const signIn = await browser.submit(consent, 'approve')
  expect(signIn.text).toContain('Continue with Acme')
  expect((await browser.submit(signIn, 'email', { email: 'x@other.example' })).text).toContain('Choose another way')
  const account = await browser.open(`${url}/authorize/account`)
  expect(account.text).toContain('to see which apps are connected to your account')
})
