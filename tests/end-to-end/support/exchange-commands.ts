import { expect } from 'vitest'
import { command, grantId, met, pick } from './grant-commands.ts'
import {
  exchangeable,
  exchanging,
  isExchangeLive,
  isLive,
  type Model,
  type ModelExchange,
  type ModelExchangeable,
  type ModelGrant,
} from './grant-model.ts'
import { CALENDAR, CALENDAR_SCOPES, EXCHANGERS, type ExchangerName, RESOURCE, SCOPES, type World } from './world.ts'

// What servers and agents do with people's tokens: they exchange them, and give them back.

const exchangeType = 'urn:ietf:params:oauth:grant-type:token-exchange'
const accessToken = 'urn:ietf:params:oauth:token-type:access_token'

export type ExchangeFault = 'none' | 'wider' | 'stranger'

interface Chosen {
  readonly subject: ModelExchangeable
  /** Undefined near its end. */
  readonly live: boolean | undefined
}

/** Of a grant: by the position from the newest, first what was exchanged last, then the person's own tokens. */
const choose = (grant: ModelGrant, nth: number, now: number): Chosen => {
  const exchanged = grant.exchanged.map((subject) => ({ subject, live: isExchangeLive(grant, subject, now) }))
  const own = grant.access.map((token) => ({ subject: exchangeable(grant, token), live: isLive(grant, token, now) }))
  const all = [...own, ...exchanged].reverse()
  const chosen = all[nth % all.length]
  if (!chosen) throw new Error('no token')
  return chosen
}

export const exchange = (
  index: number,
  nth: number,
  exchanger: ExchangerName,
  target: typeof RESOURCE | typeof CALENDAR,
  narrow: boolean,
  fault: ExchangeFault,
) =>
  command(
    `exchange(${index}, ${nth}, by ${exchanger} for ${target}, ${narrow ? 'narrowed' : 'whole'}, fault: ${fault})`,
    (model) => model.grants.some(({ access }) => access.length > 0),
    async (model, world) => {
      const grant = pick(model, index, ({ access }) => access.length > 0)
      const { subject, live } = choose(grant, nth, world.now())
      if (live === undefined) return
      const expected = exchanging(subject, exchanger, target)
      const all: readonly string[] = target === RESOURCE ? SCOPES : CALENDAR_SCOPES
      const most = 'scopes' in expected ? expected.scopes : []
      const wider = fault === 'wider' ? all.find((scope) => !most.includes(scope)) : undefined
      const scopes = narrow ? most.slice(0, 1) : most
      const asked = wider ?? (narrow ? scopes.join(' ') : '')
      const { status, body } = await world.token(fault === 'stranger' ? grant.client : exchanger, {
        ...{
          grant_type: exchangeType,
          subject_token: subject.token,
          subject_token_type: accessToken,
          resource: target,
        },
        ...(asked === '' ? {} : { scope: asked }),
      })
      if (fault === 'stranger') return refused(status, body.error, 'unauthorized_client')
      if (!live) return refused(status, body.error, 'invalid_request')
      if ('error' in expected) return refused(status, body.error, expected.error)
      if (wider !== undefined) return refused(status, body.error, 'invalid_scope')
      expect(status).toBe(200)
      expect(body).not.toHaveProperty('refresh_token')
      const token = body.access_token ?? ''
      if (body.scope !== undefined) expect(body.scope.split(' ').filter(Boolean).sort()).toEqual([...scopes].sort())
      const before = [...subject.before, ...('client' in subject ? [subject as ModelExchange] : [])]
      const impersonates = 'impersonates' in EXCHANGERS[exchanger]
      met.add(before.length > 0 ? 'exchanged again' : 'exchanged')
      grant.exchanged.push({
        ...{ token, client: exchanger, resource: target, scopes, before, ended: false },
        actors: impersonates ? subject.actors : [exchanger, ...subject.actors],
        limits: { ...subject.limits, [subject.resource]: subject.scopes, [target]: scopes },
        // Tokens of both resources live equally long: the rest of the token's own life is always shorter.
        expiresAt: subject.expiresAt,
      })
      await learnSubject(model, world, grant, token, target)
    },
  )

/** And nothing has changed by it, as the command's end shows. */
const refused = (status: number, error: string | undefined, expected: string): void => {
  expect([status, error]).toEqual([400, expected])
  met.add(`exchange refused: ${expected}`)
}

/** Whoever exchanged it, it is the same person's, who has been seen before. */
const learnSubject = async (model: Model, world: World, grant: ModelGrant, token: string, resource: string) => {
  const seen = await world.call(token, resource)
  if (typeof seen === 'number') throw new Error(`a token that was just exchanged is answered with ${seen}`)
  expect(seen.subject).toBe(model.subjects.get(grant.person))
  // A token is for one resource: nowhere else does it say anything.
  expect(await world.call(token, resource === RESOURCE ? CALENDAR : RESOURCE)).toBe(401)
}

/** One of a chain ends: by its client, by another that may not, or by the operator. */
export const endExchange = (index: number, nth: number, by: 'client' | 'another' | 'operator') =>
  command(
    `endExchange(${index}, ${nth}, by ${by})`,
    (model) => model.grants.some(({ exchanged }) => exchanged.length > 0),
    async (model, world) => {
      const grant = pick(model, index, ({ exchanged }) => exchanged.length > 0)
      const exchange = grant.exchanged[nth % grant.exchanged.length]
      if (!exchange) return
      const live = isExchangeLive(grant, exchange, world.now())
      if (by === 'another') {
        expect([200, 400]).toContain(await world.revoke(grant.client, exchange.token))
        return
      }
      if (by === 'client') expect(await world.revoke(exchange.client, exchange.token)).toBe(200)
      else if (live) expect(await world.end(grantId(exchange.token))).toBe(true)
      else return
      if (live) met.add('an exchange ended by itself')
      exchange.ended = true
    },
  )
