import type fc from 'fast-check'
import { expect } from 'vitest'
import type { Actor } from '../../../src/identity/actor.ts'
import {
  consentOf,
  isExchangeLive,
  isLive,
  type Model,
  type ModelGrant,
  mayBeSkipped,
  otherThan,
  redemption,
  refreshing,
} from './grant-model.ts'
import {
  type ClientName,
  ISSUER,
  type Listed,
  PEOPLE,
  type PersonName,
  PROVIDER,
  RESOURCE,
  SCOPES,
  type Seen,
  SHARED,
  type TokenAnswer,
  type World,
} from './world.ts'

// What people, clients and time do to the server and to the model of it alike.

/** What has happened at least once: a sequence of which nothing comes shows nothing. */
export const met = new Set<string>()

export type Command = fc.AsyncCommand<Model, World>

/** Each command ends with the invariant itself: every token that was ever issued shows what was granted, or nothing. */
export const command = (
  name: string,
  ready: (model: Model) => boolean,
  act: (model: Model, world: World) => Promise<void>,
): Command => ({
  check: ready,
  async run(model, world) {
    await act(model, world)
    await holds(model, world)
  },
  toString: () => name,
})

export const connect = (person: PersonName, device: number, client: ClientName, asked: readonly string[]) => {
  const [first, second] = [authorize(person, device, client, asked, []), redeem(0, 1, 'none')]
  return command(
    `connect(${person} at device ${device}, ${client}, ${asked})`,
    () => true,
    async (model, world) => {
      await first.run(model, world)
      await second.run(model, world)
    },
  )
}

async function holds(model: Model, world: World): Promise<void> {
  for (const grant of model.grants) {
    for (const issued of grant.access) {
      const live = isLive(grant, issued, world.now())
      if (live === undefined) continue
      const seen = await world.call(issued.token)
      if (!live) {
        expect(seen, 'a token whose grant has ended, or that has expired').toBe(401)
        continue
      }
      expect(seen).toMatchObject({
        clientId: world.clients[grant.client].id,
        scopes: issued.scopes,
        resource: RESOURCE,
      })
      expect(seen).not.toHaveProperty('actor')
      isOf(model, grant, seen)
    }
    for (const exchange of grant.exchanged) {
      const live = isExchangeLive(grant, exchange, world.now())
      if (live === undefined) continue
      const seen = await world.call(exchange.token, exchange.resource)
      if (!live) {
        expect(seen, 'an exchanged token that something of its chain has ended').toBe(401)
        continue
      }
      const { client, scopes, resource } = exchange
      expect(seen).toMatchObject({ clientId: client, scopes, resource })
      expect((seen as Seen).actor).toEqual(chainOf(exchange.actors))
      isOf(model, grant, seen)
    }
  }
}

/** The person, and all that their provider said: whoever acts for them, and whatever the token is for. */
function isOf(model: Model, { person }: ModelGrant, seen: Seen | number): void {
  const { subject, claims } = PEOPLE[person]
  expect(seen).toMatchObject({ kind: 'user', issuer: ISSUER, subject: model.subjects.get(person) })
  expect((seen as Seen).upstream).toEqual({
    provider: PROVIDER.id,
    issuer: PROVIDER.issuer,
    subject,
    claims: expect.objectContaining(claims),
  })
}

const chainOf = (actors: readonly string[]): Actor | undefined =>
  actors.reduceRight<Actor | undefined>(
    (before, id) => ({ issuer: ISSUER, subject: id, clientId: id, ...(before && { actor: before }) }),
    undefined,
  )

export const authorize = (
  asking: PersonName,
  device: number,
  client: ClientName,
  asked: readonly string[],
  unticked: readonly string[],
) =>
  command(
    `authorize(${asking} at device ${device}, ${client}, ${asked}, without ${unticked})`,
    () => true,
    async (model, world) => {
      const without = asked.every((scope) => unticked.includes(scope)) ? [] : unticked
      const { walk, code, verifier } = await world.authorize(asking, device, client, asked, without)
      const shown = walk.pages.length > 0
      // Where nobody is asked, it is granted for whoever is signed in in that browser.
      const person = device === SHARED && !shown ? (model.inShared ?? asking) : asking
      if (device === SHARED && model.inShared !== undefined && person !== model.inShared)
        met.add('another person signed in')
      if (device === SHARED) model.inShared = person
      const remembered = consentOf(model, person, client)
      if (!shown) {
        met.add('consent skipped')
        expect(mayBeSkipped(client), 'consent is skipped only where no other program can take the answer').toBe(true)
        expect([...remembered]).toEqual(expect.arrayContaining([...asked]))
      }
      const scopes = shown ? asked.filter((scope) => !without.includes(scope)) : asked
      for (const scope of scopes) remembered.add(scope)
      const issued = { code, verifier, issuedAt: world.now() }
      model.grants.push({ person, client, scopes, code: issued, refresh: [], access: [], exchanged: [], ended: false })
    },
  )

type Fault = 'none' | 'verifier' | 'client'

export const redeem = (index: number, times: number, fault: Fault) =>
  command(
    `redeem(${index}, ${times} at once, fault: ${fault})`,
    (model) => model.grants.length > 0,
    async (model, world) => {
      const grant = pick(model, index)
      const { code, verifier } = grant.code
      const client = fault === 'client' ? otherThan(grant.client) : grant.client
      const answers = await together(times, () =>
        world.token(client, {
          grant_type: 'authorization_code',
          code,
          redirect_uri: world.clients[grant.client].redirectUri,
          code_verifier: fault === 'verifier' ? 'another-verifier-that-is-long-enough-to-be-one-0' : verifier,
        }),
      )
      const expected = fault === 'none' ? redemption(grant, world.now()) : 'refused'
      met.add(`redemption ${expected}`)
      const good = answers.filter(({ status }) => status === 200)
      expect(good.length, 'a code is redeemed once').toBe(expected === 'redeems' ? 1 : 0)
      for (const { status, body } of answers)
        if (status !== 200) expect([status, body.error]).toEqual([400, 'invalid_grant'])
      if (expected === 'revokes') grant.ended = true
      for (const { body } of good) {
        grant.code.redeemedAt = world.now()
        grant.refresh.push({ token: body.refresh_token ?? '' })
        await learn(model, world, grant, body, grant.scopes)
      }
    },
  )

export const refresh = (index: number, back: number, times: number, fault: Fault | 'wider', narrow: boolean) =>
  command(
    `refresh(${index}, ${back} generations old, ${times} at once, fault: ${fault}, ${narrow ? 'narrowed' : 'whole'})`,
    (model) => model.grants.some(({ refresh }) => refresh.length > 0),
    async (model, world) => {
      const grant = pick(model, index, ({ refresh }) => refresh.length > 0)
      const generation = Math.max(0, grant.refresh.length - 1 - back)
      const token = grant.refresh[generation]?.token ?? ''
      const scopes = narrow ? grant.scopes.slice(0, 1) : grant.scopes
      const wider = SCOPES.find((scope) => !grant.scopes.includes(scope))
      const wrong = fault === 'client' || fault === 'verifier' || (fault === 'wider' && wider !== undefined)
      const answers = await together(times, () =>
        world.token(fault === 'client' ? otherThan(grant.client) : grant.client, {
          grant_type: 'refresh_token',
          refresh_token: fault === 'verifier' ? forged(token) : token,
          ...(narrow ? { scope: scopes.join(' ') } : {}),
          ...(fault === 'wider' && wider ? { scope: wider } : {}),
        }),
      )
      if (wrong) {
        // Narrow or wide, an ended grant is refused; else nothing changes.
        for (const { status } of answers) expect(status).toBe(400)
        return
      }
      const expected = refreshing(grant, generation, world.now())
      met.add(`refreshing ${expected}`)
      if (expected === 'revokes') grant.ended = true
      if (expected === 'revokes' || expected === 'refused') {
        for (const { status, body } of answers) expect([status, body.error]).toEqual([400, 'invalid_grant'])
        return
      }
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
      const [successor, ...more] = new Set(answers.map(({ body }) => body.refresh_token ?? ''))
      expect(more, 'whoever refreshes at once gets the same successor').toEqual([])
      if (expected === 'repeats') expect(successor).toBe(grant.refresh.at(-1)?.token)
      else {
        expect(grant.refresh.map((each) => each.token)).not.toContain(successor)
        const superseded = grant.refresh.at(-1)
        if (superseded) superseded.supersededAt = world.now()
        grant.refresh.push({ token: successor ?? '' })
      }
      for (const { body } of answers) await learn(model, world, grant, body, scopes)
    },
  )

export const revoke = (index: number, which: 'access' | 'refresh', nth: number, byAnother: boolean) =>
  command(
    `revoke(${index}, ${which} ${nth}${byAnother ? ', by another client' : ''})`,
    (model) => model.grants.some(({ access }) => access.length > 0),
    async (model, world) => {
      const grant = pick(model, index, ({ access }) => access.length > 0)
      const list = grant[which]
      const { token } = list[nth % list.length] ?? { token: 'none' }
      const status = await world.revoke(byAnother ? otherThan(grant.client) : grant.client, token)
      if (byAnother) expect([200, 400]).toContain(status)
      else {
        expect(status).toBe(200)
        grant.ended = true
      }
    },
  )

export const revokeWhileRefreshing = (index: number, turns: number) =>
  command(
    `revokeWhileRefreshing(${index}, ${turns} turns later)`,
    (model) => model.grants.some(({ refresh }) => refresh.length > 0),
    async (model, world) => {
      const grant = pick(model, index, ({ refresh }) => refresh.length > 0)
      const token = grant.refresh.at(-1)?.token ?? ''
      const [answer, status] = await Promise.all([
        world.token(grant.client, { grant_type: 'refresh_token', refresh_token: token }),
        later(turns).then(() => world.revoke(grant.client, token)),
      ])
      expect(status).toBe(200)
      // Whichever came first: what the refresh got is worth nothing now.
      grant.ended = true
      if (answer.status !== 200) return
      met.add('refreshed while it was revoked')
      grant.access.push({ token: answer.body.access_token ?? '', scopes: grant.scopes, issuedAt: world.now() })
      grant.refresh.push({ token: answer.body.refresh_token ?? '' })
    },
  )

export const endByOperator = (who: PersonName, nth: number) =>
  command(
    `endByOperator(${who}, ${nth})`,
    (model) => model.subjects.has(who),
    async (model, world) => {
      const live = model.grants.filter(({ person, access, ended }) => person === who && access.length > 0 && !ended)
      // Without configuration the subject is the account's own id.
      const listed = await world.list(model.subjects.get(who) ?? '')
      const own = listed.filter(({ kind }) => kind === 'authorization')
      expect(own.map(({ id }) => id).sort()).toEqual(live.map(idOf).sort())
      listsExchanges(live, listed, world.now())
      const grant = live[nth % live.length]
      if (grant === undefined) return
      expect(await world.end(idOf(grant))).toBe(true)
      grant.ended = true
    },
  )

/** Each that lives, none that ended, with what it came of. */
function listsExchanges(grants: readonly ModelGrant[], listed: readonly Listed[], now: number): void {
  const shown = new Map(listed.flatMap(({ id, kind, parent }) => (kind === 'exchange' ? [[id, parent]] : [])))
  for (const grant of grants) {
    for (const exchange of grant.exchanged) {
      const id = grantId(exchange.token)
      const live = isExchangeLive(grant, exchange, now)
      if (live !== undefined) expect(shown.has(id), 'listed as long as it lives').toBe(live)
      const [parent] = exchange.before.slice(-1)
      if (live) expect(shown.get(id)).toBe(parent ? grantId(parent.token) : idOf(grant))
      shown.delete(id)
    }
  }
  expect([...shown], 'nothing that nobody exchanged, and nobody else’s').toEqual([])
}

export const disconnect = (person: PersonName, device: number, client: ClientName) =>
  command(
    `disconnect(${person} at device ${device}, ${client})`,
    () => true,
    async (model, world) => {
      const allowed = consentOf(model, person, client)
      expect(await world.disconnect(person, device, client), 'what was allowed is on the page').toBe(allowed.size > 0)
      if (device === SHARED) model.inShared = person
      if (allowed.size > 0) met.add('disconnected')
      allowed.clear()
      for (const grant of model.grants) if (grant.person === person && grant.client === client) grant.ended = true
    },
  )

export const signOut = (person: PersonName, device: number, everywhere: boolean) =>
  command(
    `signOut(${person} ${everywhere ? 'everywhere' : `at device ${device}`})`,
    () => true,
    async (model, world) => {
      await world.signOut(person, device, everywhere)
      // Nobody signs in in the very millisecond.
      world.advance(1)
      if (device === SHARED || (everywhere && model.inShared === person)) delete model.inShared
      met.add(everywhere ? 'signed out everywhere' : 'signed out')
    },
  )

const later = async (turns: number) => {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
}

const idOf = ({ access }: ModelGrant): string => grantId(access[0]?.token ?? '')

export const grantId = (token: string): string => {
  const [, payload = ''] = token.split('.')
  return (JSON.parse(Buffer.from(payload, 'base64url').toString()) as { grant_id: string }).grant_id
}

export const advance = (milliseconds: number) =>
  command(
    `advance(${milliseconds / 1000} s)`,
    () => true,
    async (_model, world) => world.advance(milliseconds),
  )

export const restart = () =>
  command(
    'restart()',
    () => true,
    (_model, world) => world.restart(),
  )

/** Writes down what a token response promised; and that a person's subject is one and the same, and nobody else's. */
async function learn(
  model: Model,
  world: World,
  grant: ModelGrant,
  body: TokenAnswer['body'],
  scopes: readonly string[],
) {
  const token = body.access_token ?? ''
  if (body.scope !== undefined) expect(body.scope.split(' ').sort()).toEqual([...scopes].sort())
  grant.access.push({ token, scopes, issuedAt: world.now() })
  if (model.subjects.has(grant.person)) return
  const seen = await world.call(token)
  if (typeof seen === 'number') throw new Error(`a fresh token is answered with ${seen}`)
  expect([...model.subjects.values()]).not.toContain(seen.subject)
  model.subjects.set(grant.person, seen.subject)
}

export function pick(model: Model, index: number, suits: (grant: ModelGrant) => boolean = () => true): ModelGrant {
  const suitable = model.grants.filter(suits)
  const grant = suitable[suitable.length - 1 - (index % suitable.length)]
  if (grant === undefined) throw new Error('no grant')
  return grant
}

const together = <T>(times: number, act: () => Promise<T>) => Promise.all(Array.from({ length: times }, act))

/** One character of the MAC changed. */
const forged = (token: string) => {
  const at = token.length - 8
  return `${token.slice(0, at)}${token[at] === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`
}
