import { expect, test } from 'vitest'
import { brandingSchema } from '../../../src/http/branding.ts'
import { english } from '../../../src/http/pages/english.ts'
import { acceptedLanguages, chooseLanguage } from '../../../src/http/pages/language.ts'
import { placeholdersOf, type Words } from '../../../src/http/pages/words.ts'
import { authorizeUrl, type PersonServer, personServer, signInAs } from '../../support/person.ts'

const german = {
  words: {
    'consent.heading': '{client} die Nutzung von {resource} erlauben?',
    'consent.allow': 'Erlauben',
    'sign_in.title': 'Anmelden',
    'sign_in.wrong': 'Name oder Passwort ist <b>falsch</b>.',
    'problem.client_unknown.title': 'Diese App ist hier unbekannt',
  },
  texts: { 'Read your notes': 'Deine Notizen lesen' },
}

const withGerman = async (lang?: string) => {
  const to = await personServer({ branding: { languages: { de: german }, ...(lang ? { lang } : {}) } })
  await to.addClient({ id: 'app' })
  return to
}

test('ui_locales says the language of all pages of the interaction; what is not translated is English', async () => {
  const to = await withGerman()
  const browser = to.browser()
  const consent = await browser.open(authorizeUrl(to, { ui_locales: 'xx de-AT en' }), { 'accept-language': 'fr' })
  expect(consent.html).toContain('<html lang="de" dir="ltr">')
  expect(consent.text).toContain('Test App die Nutzung von Notes erlauben?')
  expect(consent.text).toContain('Deine Notizen lesen')
  expect(consent.text).toContain('Decline')
  const signIn = await browser.submit(consent, 'approve')
  expect(signIn.text).toContain('Anmelden')
  const wrong = await signInAs(browser, signIn, 'Alice', 'wrong')
  expect(wrong.text).toContain('Name oder Passwort ist <b>falsch</b>.')
  expect(wrong.html).not.toContain('<b>')
})

test('without it the browser’s languages count, then the host’s own, then English', async () => {
  const to = await withGerman()
  const heading = async (url: string, headers: Record<string, string>) =>
    /<h1>(.*?)<\/h1>/s.exec((await to.browser().open(url, headers)).html)?.[1]?.replace(/<[^>]*>/g, '')
  const unknown = authorizeUrl(to, { client_id: 'nobody' })
  expect(await heading(unknown, { 'accept-language': 'fr;q=0.9, de-CH;q=0.8, en;q=0.1' })).toBe(
    'Diese App ist hier unbekannt',
  )
  expect(await heading(unknown, { 'accept-language': 'en, de;q=0.9' })).toBe('This app is not known here')
  expect(await heading(unknown, {})).toBe('This app is not known here')
  expect(await heading(`${unknown}&ui_locales=de`, { 'accept-language': 'en' })).toBe('Diese App ist hier unbekannt')
  const own = await withGerman('de')
  const page = await own.browser().open(authorizeUrl(own))
  expect(page.html).toContain('<html lang="de"')
  const wanted = await own.browser().open(authorizeUrl(own, { client_id: 'nobody' }), { 'accept-language': 'en' })
  expect(wanted.html).toContain('<html lang="en"')
})

test('the metadata name the languages, where there are several', async () => {
  const metadata = async (to: Pick<PersonServer, 'routes' | 'issuer'>) => {
    const response = await to.routes.respond(new Request(`${to.issuer}/.well-known/oauth-authorization-server`))
    return response?.json()
  }
  expect(await metadata(await withGerman())).toMatchObject({ ui_locales_supported: ['en', 'de'] })
  expect(await metadata(await personServer())).not.toHaveProperty('ui_locales_supported')
})

test('whatever a client or a browser says of languages, there is a page in one that exists', async () => {
  const to = await withGerman()
  for (const wrong of [
    '',
    '*',
    '__proto__',
    'constructor',
    '"><script>',
    'de'.repeat(500),
    'de '.repeat(500),
    'x-y-z q=1;;,',
  ]) {
    const page = await to.browser().open(authorizeUrl(to, { ui_locales: wrong }), {
      'accept-language': wrong,
    })
    expect([wrong, page.status]).toEqual([wrong, 200])
    expect(page.html).toMatch(/<html lang="(en|de)" dir="ltr">/)
  }
})

test('id_token_hint and other hints that are not understood are ignored', async () => {
  const to = await withGerman()
  const page = await to.browser().open(authorizeUrl(to, { id_token_hint: 'x.y.z', display: 'popup', acr_values: '1' }))
  expect(page.text).toContain('Allow Test App')
})

test('tags are looked up as RFC 4647 says', () => {
  expect(chooseLanguage(['en', 'zh-Hant', 'de'], ['fr', 'zh-hant-TW'])).toBe('zh-Hant')
  expect(chooseLanguage(['en', 'de-AT'], ['de'])).toBeUndefined()
  expect(acceptedLanguages('da, en-gb;q=0.8, *;q=0.5, en;q=0.7, no;q=0')).toEqual(['da', 'en-gb', 'en'])
})

test('words are checked at start: the key, and what stands in braces', () => {
  const check = (words: Partial<Words> | Record<string, string>) =>
    brandingSchema.safeParse({ languages: { de: { words } } }).success
  expect(check(german.words)).toBe(true)
  expect(check(english)).toBe(true)
  expect(check({ 'consent.heading': 'Erlauben?' })).toBe(false)
  expect(check({ 'consent.heading': '{client} {resource} {more}' })).toBe(false)
  expect(check({ 'consent.headin': 'x' })).toBe(false)
  expect(check({ 'consent.allow': '' })).toBe(false)
  expect(brandingSchema.safeParse({ languages: { 'not a tag': {} } }).success).toBe(false)
  expect(placeholdersOf('{b} and {a}, {a}')).toEqual(['a', 'a', 'b'])
})

test('languages that are written from right to left say so', async () => {
  const to = await personServer({ branding: { languages: { he: { words: { 'sign_in.title': 'כניסה' } } } } })
  await to.addClient({ id: 'app' })
  expect((await to.browser().open(authorizeUrl(to, { ui_locales: 'he-IL' }))).html).toContain(
    '<html lang="he" dir="rtl">',
  )
})
