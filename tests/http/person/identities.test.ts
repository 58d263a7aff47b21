import { describe, expect, test } from 'vitest'
import type { TestBrowser, Visit } from '../../support/browser.ts'
import {
  authorizeUrl,
  type PersonServer,
  passwordProvider,
  personServer,
  type RedirectStandIn,
  redeemed,
  redirectProvider,
  refreshed,
  signInAs,
} from '../../support/person.ts'

const withTwo = async () => {
  const made: RedirectStandIn[] = []
  const to = await personServer({
    providers: (issuer, now) => {
      made.push(redirectProvider(now))
      return [passwordProvider(issuer, now), ...made]
    },
  })
  await to.addClient({ id: 'app' })
  const [idp] = made
  if (!idp) throw new Error('no provider')
  return { to, idp }
}

const account = (to: PersonServer, browser: TestBrowser): Promise<Visit> => browser.open(to.server.endpoints.account)

const signedIn = async (to: PersonServer, browser: TestBrowser, who = 'Alice'): Promise<Visit> =>
  signInAs(browser, await account(to, browser), who)

/** Presses "Add another way", and signs in there as somebody. */
const add = async (to: PersonServer, idp: RedirectStandIn, browser: TestBrowser, who: string) => {
  const chooser = await browser.submit(await account(to, browser), 'add')
  const { left } = await browser.submit(chooser, 'idp')
  expect(left?.origin).toBe('https://idp.example')
  return browser.open(callbackOf(to, idp, who))
}

const callbackOf = (to: PersonServer, idp: RedirectStandIn, who: string) =>
  `${to.issuer}/authorize/callback/idp?code=${who}&state=${idp.asked.at(-1)?.state}`

const subjectOf = (token: unknown): string =>
  JSON.parse(Buffer.from(String(token).split('.')[1] ?? '', 'base64url').toString()).sub

const subjectBy = async (to: PersonServer, idp: RedirectStandIn, way: 'password' | 'idp', who: string) => {
  const browser = to.browser()
  const page = await browser.submit(await browser.open(authorizeUrl(to)), 'approve')
  if (way === 'password') return subjectOf((await redeemed(to, (await signInAs(browser, page, who)).left)).access_token)
  await browser.submit(page, 'idp')
  return subjectOf((await redeemed(to, (await browser.open(callbackOf(to, idp, who))).left)).access_token)
}

test('a person who is signed in adds another identity: from then on both lead to the same account', async () => {
  const { to, idp } = await withTwo()
  const browser = to.browser()
  expect((await signedIn(to, browser)).text).toContain('Add another way: Example IdP')
  const page = await add(to, idp, browser, 'Ally')
  expect(page.text).toContain('From now on you can sign in in this way, too.')
  expect(page.text).toContain('As Alice')
  expect(page.text).not.toContain('Add another way')
  expect(idp.asked).toMatchObject([{ selectAccount: true }])
  expect(await subjectBy(to, idp, 'idp', 'Ally')).toBe(await subjectBy(to, idp, 'password', 'Alice'))
  expect(await subjectBy(to, idp, 'idp', 'Somebody')).not.toBe(await subjectBy(to, idp, 'password', 'Alice'))
  expect(to.events).toContainEqual(
    expect.objectContaining({ type: 'account.identity_added', subject: 'subject-of-Ally' }),
  )
})

test('an answer that is loaded twice adds one identity, and tells the same', async () => {
  const { to, idp } = await withTwo()
  const browser = to.browser()
  await signedIn(to, browser)
  await browser.submit(await browser.submit(await account(to, browser), 'add'), 'idp')
  const back = callbackOf(to, idp, 'Ally')
  const both = await Promise.all([browser.open(back), browser.open(back)])
  for (const page of both) expect(page.text).toContain('From now on')
})

test('two accounts are never merged: an identity that has one keeps it', async () => {
  const { to, idp } = await withTwo()
  const before = await subjectBy(to, idp, 'idp', 'Ally')
  const browser = to.browser()
  await signedIn(to, browser)
  const page = await add(to, idp, browser, 'Ally')
  expect(page.text).toContain('Two accounts can’t become one, so nothing was changed.')
  expect(await subjectBy(to, idp, 'idp', 'Ally')).toBe(before)
  expect(await subjectBy(to, idp, 'password', 'Alice')).not.toBe(before)
})

test('of two people who add the same identity at once one gets it', async () => {
  const { to, idp } = await withTwo()
  const [alice, bob] = [to.browser(), to.browser()]
  await signedIn(to, alice)
  await signedIn(to, bob, 'Bob')
  const backs = []
  for (const browser of [alice, bob]) {
    await browser.submit(await browser.submit(await account(to, browser), 'add'), 'idp')
    backs.push(callbackOf(to, idp, 'Shared'))
  }
  const pages = await Promise.all([alice.open(backs[0] ?? ''), bob.open(backs[1] ?? '')])
  expect(pages.map(({ text }) => text.includes('From now on')).filter(Boolean)).toHaveLength(1)
  expect(pages.map(({ text }) => text.includes('can’t become one')).filter(Boolean)).toHaveLength(1)
})

test('nothing is linked by e-mail: the same address at another provider is another account', async () => {
  const { to, idp } = await withTwo()
  // Both say alice@example.org.
  expect(await subjectBy(to, idp, 'idp', 'Alice')).not.toBe(await subjectBy(to, idp, 'password', 'Alice'))
})

test('who signed in long ago proves again who they are before an identity is added', async () => {
  const { to, idp } = await withTwo()
  const browser = to.browser()
  await signedIn(to, browser)
  await to.pass(11 * 60_000)
  const confirm = await browser.submit(await account(to, browser), 'add')
  expect(confirm.text).toContain('again, so that nobody else can change how you sign in')
  const form = {
    ...confirm,
    forms: confirm.forms.filter(({ fields }) => fields.some(({ name }) => name === 'password')),
  }
  const next = await signInAs(browser, form, 'Alice')
  expect(next.text).toContain('with the account that you want to add')
  await browser.submit(next, 'idp')
  expect((await browser.open(callbackOf(to, idp, 'Ally'))).text).toContain('From now on')
})

test('who proves to be somebody else changes nothing for the first', async () => {
  const { to, idp } = await withTwo()
  const browser = to.browser()
  await signedIn(to, browser)
  await to.pass(11 * 60_000)
  const confirm = await browser.submit(await account(to, browser), 'add')
  const form = {
    ...confirm,
    forms: confirm.forms.filter(({ fields }) => fields.some(({ name }) => name === 'password')),
  }
  const page = await signInAs(browser, form, 'Bob')
  expect(page.text).toContain('As Bob')
  expect(idp.asked).toEqual([])
})

const removal = (page: Visit) => page.forms.find(({ buttons }) => buttons.some(({ value }) => value === 'remove'))

const remove = (to: PersonServer, browser: TestBrowser, page: Visit): Promise<Visit> => {
  const body = new URLSearchParams(removal(page)?.fields.map(({ name, value }) => [name, value]))
  body.set('decision', 'remove')
  return browser.post(page.url, to.server.endpoints.account, body)
}

test('an identity can be taken away: what was signed in or connected by it ends, all else goes on', async () => {
  const { to, idp } = await withTwo()
  const [alice, other] = [to.browser(), to.browser()]
  await signedIn(to, alice)
  await add(to, idp, alice, 'Ally')
  const kept = await redeemed(to, (await alice.submit(await alice.open(authorizeUrl(to)), 'approve')).left)
  // In another browser somebody came in by the identity that was added.
  await other.submit(await other.submit(await other.open(authorizeUrl(to)), 'approve'), 'idp')
  const lost = await redeemed(to, (await other.open(callbackOf(to, idp, 'Ally'))).left)
  expect(subjectOf(lost.access_token)).toBe(subjectOf(kept.access_token))
  const silent = await other.open(authorizeUrl(to))
  expect(silent.left?.searchParams.has('code')).toBe(true)
  const underWay = await other.open(authorizeUrl(to, { prompt: 'consent' }))

  const page = await account(to, alice)
  expect(page.text).toContain('Remove Example IdP')
  expect(page.text).not.toContain('Remove Example account')
  expect((await remove(to, alice, page)).text).toContain('You can no longer sign in in that way.')

  expect(await redeemed(to, silent.left)).toMatchObject({ error: 'invalid_grant' })
  expect(await refreshed(to, String(lost.refresh_token))).toMatchObject({ error: 'invalid_grant' })
  expect((await account(to, other)).url).toContain('/sign-in')
  expect((await other.submit(underWay, 'approve')).left).toBeUndefined()
  expect(await refreshed(to, String(kept.refresh_token))).toHaveProperty('access_token')
  // Who signs in that way is somebody new.
  expect(await subjectBy(to, idp, 'idp', 'Ally')).not.toBe(subjectOf(kept.access_token))
  expect(await subjectBy(to, idp, 'password', 'Alice')).toBe(subjectOf(kept.access_token))
})

test('taking one away needs a fresh sign-in, too; the one that is in use stays', async () => {
  const { to, idp } = await withTwo()
  const browser = to.browser()
  await signedIn(to, browser)
  await add(to, idp, browser, 'Ally')
  await to.pass(11 * 60_000)
  const page = await account(to, browser)
  const confirm = await remove(to, browser, page)
  expect(confirm.text).toContain('again, so that nobody else can change how you sign in')
  expect((await account(to, browser)).text).toContain('Remove Example IdP')
  // Signed in by the other one, it is the other way round.
  await browser.submit(confirm, 'idp')
  const other = await browser.open(callbackOf(to, idp, 'Ally'))
  expect(other.text).toContain('Remove Example account')
  const csrf = other.forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
  const stale = removal(page)?.fields.find(({ name }) => name === 'identity')?.value ?? ''
  for (const identity of ['', 'x', stale]) {
    const body = new URLSearchParams({ decision: 'remove', csrf, identity })
    expect((await browser.post(other.url, to.server.endpoints.account, body)).status).toBe(400)
  }
})

// Attacks.

test('an answer of the provider counts only in the browser that began, and only while the same person is signed in', async () => {
  const { to, idp } = await withTwo()
  const [attacker, victim] = [to.browser(), to.browser()]
  await signedIn(to, attacker, 'Bob')
  await signedIn(to, victim)
  await attacker.submit(await attacker.submit(await account(to, attacker), 'add'), 'idp')
  const lured = await victim.open(callbackOf(to, idp, 'Victim'))
  expect(lured.status).toBe(403)
  // The attacker signs out and lets the victim sign in in the same browser.
  const other = to.browser()
  await signedIn(to, other, 'Bob')
  await other.submit(await other.submit(await account(to, other), 'add'), 'idp')
  const back = callbackOf(to, idp, 'Mallory')
  await other.submit(await account(to, other), 'sign_out')
  await signedIn(to, other)
  expect((await other.open(back)).text).toContain('Somebody else has signed in meanwhile')
  const accounts = new Set([await subjectBy(to, idp, 'idp', 'Mallory'), await subjectBy(to, idp, 'password', 'Alice')])
  expect(accounts.size).toBe(2)
})

test('adding needs our own form, and a provider that is offered', async () => {
  const { to, idp } = await withTwo()
  const browser = to.browser()
  const page = await signedIn(to, browser)
  const csrf = page.forms[0]?.fields.find(({ name }) => name === 'csrf')?.value ?? ''
  const post = (fields: Record<string, string>) =>
    browser.post(page.url, to.server.endpoints.account, new URLSearchParams({ decision: 'add', ...fields }))
  expect((await post({ provider: 'idp', csrf: 'x' })).text).toContain('out of date')
  for (const provider of ['', 'nobody', 'local', '__proto__']) expect((await post({ provider, csrf })).status).toBe(400)
  expect(idp.asked).toEqual([])
})

test('a sign-in for the account page grants nothing to any client, and can’t be taken for an authorization', async () => {
  const { to } = await withTwo()
  const browser = to.browser()
  const signIn = await account(to, browser)
  const [, body] = browser.filled(signIn, undefined)
  const id = body.get('interaction')
  const consent = `${to.server.endpoints.consent}?interaction=${id}`
  expect((await browser.open(consent)).status).toBe(400)
  body.set('decision', 'approve')
  body.append('scope', 'notes:read')
  expect((await browser.post(signIn.url, to.server.endpoints.consent, body)).status).toBe(400)
  expect(to.events.some(({ type }) => type === 'code.issued')).toBe(false)
})

test('where the subject is the provider’s, nothing can be added', async () => {
  const made: RedirectStandIn[] = []
  const to = await personServer({
    providers: (_, now) => {
      made.push(redirectProvider(now))
      return made
    },
    subject: 'upstream',
  })
  const [idp] = made
  if (!idp) throw new Error('no provider')
  const browser = to.browser()
  const signIn = await account(to, browser)
  await browser.submit(signIn, 'idp')
  const page = await browser.open(callbackOf(to, idp, 'Ally'))
  expect(page.text).toContain('As Ally')
  expect(page.text).not.toContain('Add another way')
})

describe('a provider that does not say when a person authenticated', () => {
  /** `idp` at which people are, and another to add. */
  const setting = async (facts: { readonly reauthenticates?: false | 'unstated' } = {}, local = false) => {
    const made: RedirectStandIn[] = []
    const to = await personServer({
      providers: (issuer, now) => {
        made.push(redirectProvider(now, 'idp', 'Example IdP', facts), redirectProvider(now, 'other', 'Other IdP'))
        return [...(local ? [passwordProvider(issuer, now)] : []), ...made]
      },
    })
    const [idp, other] = made
    if (!idp || !other) throw new Error('no provider')
    idp.statesTime = false
    const browser = to.browser()
    const back = (at: RedirectStandIn, who: string) =>
      browser.open(`${to.issuer}/authorize/callback/${at.id}?code=${who}&state=${at.asked.at(-1)?.state}`)
    const visit = async () => {
      await browser.submit(await account(to, browser), 'idp')
      return back(idp, 'Alice')
    }
    const identities = async () =>
      (await to.server.accounts.byIdentity('https://idp.example', 'subject-of-Alice'))?.identities
    return { to, idp, other, browser, back, visit, identities }
  }

  test('attack: who sits at an open browser, where it signs in by itself, adds nothing, however new the session looks', async () => {
    const { to, idp, other, browser, back, visit, identities } = await setting()
    // A new session by the provider's own, which asked nobody: it counts for clients, and not for this.
    expect((await visit()).text).toContain('Add another way')
    const confirm = await browser.submit(await account(to, browser), 'add')
    expect(confirm.text).toContain('again, so that nobody else')
    expect((await browser.submit(confirm, 'idp')).left?.origin).toBe('https://idp.example')
    expect(idp.asked.at(-1)).toMatchObject({ reauthenticate: true })
    // The parameters that ask for it were taken out of the URL on the way.
    const page = await back(idp, 'Alice')
    expect(page.text).toContain('does not say that you did so just now, so nothing was changed')
    expect(other.asked).toEqual([])
    expect(await identities()).toHaveLength(1)
    expect(to.events).toContainEqual(
      expect.objectContaining({ type: 'account.identity_refused', provider: 'idp', reason: 'not_proven' }),
    )
    // Nor by trying again, which begins with the session that has just been made.
    await browser.submit(await browser.submit(await account(to, browser), 'add'), 'idp')
    expect(other.asked).toEqual([])
    // One that says it goes on.
    idp.statesTime = true
    await browser.submit(await back(idp, 'Alice'), 'other')
    expect((await back(other, 'Ally')).text).toContain('From now on')
    expect(await identities()).toHaveLength(2)
  })

  test('attack: nothing is taken away by it either', async () => {
    const { to, idp, other, browser, back, visit, identities } = await setting()
    const { account: mine } = await to.server.accounts.resolve('idp', {
      ...{ issuer: 'https://idp.example', subject: 'subject-of-Alice', authTime: 0, said: [] },
    })
    await to.server.accounts.link(mine.id, 'other', {
      ...{ issuer: 'https://other.example', subject: 'subject-of-Ally', authTime: 0, said: [] },
    })
    await visit()
    const confirm = await browser.submit(await account(to, browser), 'remove')
    expect(confirm.text).toContain('again, so that nobody else')
    await browser.submit(confirm, 'idp')
    expect((await back(idp, 'Alice')).text).toContain('nothing was changed')
    expect(await identities()).toHaveLength(2)
    // By the other one, which says it, it can be done.
    await browser.submit(await browser.submit(await account(to, browser), 'remove'), 'other')
    await back(other, 'Ally')
    expect((await browser.submit(await account(to, browser), 'remove')).text).toContain('You can no longer sign in')
    expect(await identities()).toBeUndefined()
  })

  test('where nobody could say it (plain OAuth 2.0), a sign-in of the last minutes is enough; later they come from there again', async () => {
    const { to, idp, other, browser, back, visit, identities } = await setting({ reauthenticates: false })
    await visit()
    await to.pass(11 * 60_000)
    await browser.submit(await browser.submit(await account(to, browser), 'add'), 'idp')
    expect(idp.asked.at(-1)).toMatchObject({ reauthenticate: false, selectAccount: true })
    await browser.submit(await back(idp, 'Alice'), 'other')
    expect((await back(other, 'Ally')).text).toContain('From now on')
    expect(await identities()).toHaveLength(2)
  })

  test('where it asks people again and does not say so, its answer to that is enough; that they came by before is not, however new', async () => {
    const { to, idp, other, browser, back, visit, identities } = await setting({ reauthenticates: 'unstated' })
    await visit()
    const confirm = await browser.submit(await account(to, browser), 'add')
    expect(confirm.text).toContain('again, so that nobody else')
    await browser.submit(confirm, 'idp')
    expect(idp.asked.at(-1)).toMatchObject({ reauthenticate: true })
    await browser.submit(await back(idp, 'Alice'), 'other')
    expect((await back(other, 'Ally')).text).toContain('From now on')
    expect(await identities()).toHaveLength(2)
    // For as long as any: then they are asked again.
    await to.pass(11 * 60_000)
    expect((await browser.submit(await account(to, browser), 'remove')).text).toContain('again, so that nobody else')
  })

  test('attack: somebody else who answers there changes nothing of the first one’s account', async () => {
    const { to, idp, other, browser, back, visit, identities } = await setting({ reauthenticates: 'unstated' })
    await visit()
    await browser.submit(await browser.submit(await account(to, browser), 'add'), 'idp')
    await back(idp, 'Mallory')
    expect(other.asked).toEqual([])
    expect(await identities()).toHaveLength(1)
  })

  test.each([false, 'unstated'] as const)(
    'attack: but not for an account that has a better way, which is then the only one that is offered (%s)',
    async (reauthenticates) => {
      const { to, idp, other, browser, back, visit } = await setting({ reauthenticates }, true)
      const { account: mine } = await to.server.accounts.resolve('idp', {
        ...{ issuer: 'https://idp.example', subject: 'subject-of-Alice', authTime: 0, said: [] },
      })
      await to.server.accounts.link(mine.id, 'local', {
        ...{ issuer: to.issuer, subject: 'subject-of-Alice', authTime: 0, said: [] },
      })
      await visit()
      const confirm = await browser.submit(await account(to, browser), 'add')
      expect(confirm.text).toContain('again, so that nobody else')
      expect(confirm.forms.flatMap(({ buttons }) => buttons.map(({ value }) => value))).not.toContain('idp')
      const before = idp.asked.length
      const [form] = confirm.forms
      const fields = new URLSearchParams([
        ...(form?.fields ?? [])
          .filter(({ name }) => name === 'interaction' || name === 'csrf')
          .map((each): [string, string] => [each.name, each.value]),
        ['provider', 'idp'],
      ])
      expect((await browser.post(confirm.url, form?.action ?? '', fields)).status).toBe(400)
      expect(idp.asked).toHaveLength(before)
      await browser.submit(await signInAs(browser, confirm, 'Alice'), 'other')
      expect((await back(other, 'Ally')).text).toContain('From now on')
    },
  )
})
