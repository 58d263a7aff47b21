import { expect, test } from 'vitest'
import { memory } from '../../src/store/memory.ts'
import type { Store } from '../../src/store/store.ts'
import { StoreUnavailable } from '../../src/store/store.ts'
import { createTarget, credentials, tokensIn } from './support/target.ts'

// Our own trouble must open nothing: at each call of the store, in turn, the store is away, or its answer is lost.

/** A store whose n-th call from now on goes wrong. */
const failing = () => {
  const plan = { at: Number.POSITIVE_INFINITY, how: 'away' as 'away' | 'answer lost' | 'broken', calls: 0 }
  const engine = (clock: { now(): number }): Store => {
    const store = memory({ clock })
    const around = async <T>(call: () => Promise<T>): Promise<T> => {
      plan.calls++
      if (plan.calls !== plan.at) return call()
      if (plan.how === 'answer lost') await call()
      if (plan.how === 'broken')
        throw new TypeError('SQLITE_CORRUPT: something that says too much, /var/lib/secret/path')
      throw new StoreUnavailable('away')
    }
    return {
      ...store,
      get: (keys) => around(() => store.get(keys)),
      list: (prefix, options) => around(() => store.list(prefix, options)),
      commit: (batch) => around(() => store.commit(batch)),
      increment: (key, by, ttl) => around(() => store.increment(key, by, ttl)),
    }
  }
  return { plan, engine }
}

test.each(['away', 'answer lost', 'broken'] as const)(
  'the store is %s at each call of each step: 503 or the right answer, no token for the wrong one, no lost session',
  async (how) => {
    const { plan, engine } = failing()
    const target = await createTarget({ engine, registration: { perAddress: 10_000, total: 10_000 } })
    await target.auth.ready()
    const client = await target.register({ token_endpoint_auth_method: 'client_secret_post' })
    const other = await target.register()

    /** Runs a step with the n-th call going wrong, for every n, until no call goes wrong any more. */
    const everywhere = async (step: () => Promise<void>) => {
      for (let at = 1; ; at++) {
        Object.assign(plan, { at, how, calls: 0 })
        await step()
        const reached = plan.calls >= at
        plan.at = Number.POSITIVE_INFINITY
        if (!reached) return
        if (at > 60) throw new Error('no end')
      }
    }
    const heal = () => {
      plan.at = Number.POSITIVE_INFINITY
    }
    const fine = (status: number, expected: readonly number[]) => expect([...expected, 503]).toContain(status)

    // A wrong redemption never gets a token, whatever goes wrong besides.
    const stolen = await target.code(client)
    await everywhere(async () => {
      for (const answer of [
        await target.redeem({ ...stolen, client: other }),
        await target.redeem(stolen, { code_verifier: 'x'.repeat(43) }),
        await target.redeem(stolen, { client_secret: 'wrong' }),
      ]) {
        fine(answer.status, [400, 401])
        expect(tokensIn(answer)).toEqual([])
        expect(JSON.stringify(answer.body)).not.toMatch(/SQLITE|secret\/path|away/)
        if (answer.status === 503) expect(answer.headers.get('retry-after')).toBeTruthy()
      }
    })
    expect((await target.redeem(stolen)).status).toBe(200)

    // A sign-in: who goes wrong once tries again and gets through; no code goes anywhere else.
    await everywhere(async () => {
      const browser = target.browser()
      const url = target.authorizeUrl(client)
      let page = await browser.open(url)
      fine(page.status, [200])
      if (page.status === 503) page = await browser.open(url)
      let next = await browser.submit(page, 'approve')
      if (next.status === 503) next = await browser.submit(page, 'approve')
      let end = await browser.submit(next, undefined, { username: 'Alice', password: 'right' })
      if (end.status === 503) end = await browser.submit(next, undefined, { username: 'Alice', password: 'right' })
      expect([end.status, end.left?.origin]).toEqual([303, 'https://app.example.net'])
      heal()
      expect(end.left?.searchParams.get('code')).toBeTruthy()
    })

    // Refreshing: the session lives on.
    let current = (await target.tokens(client)).refresh_token
    await everywhere(async () => {
      const answer = await target.refresh(client, current)
      fine(answer.status, [200])
      heal()
      const again = await target.refresh(client, answer.body.refresh_token ?? current)
      expect(again.status).toBe(200)
      current = again.body.refresh_token ?? ''
      const foreign = await target.refresh(other, current)
      expect([foreign.status, tokensIn(foreign)]).toEqual([400, []])
    })

    // The gate: a good token is good or 503, never 401; a bad one is never let in.
    const { access_token: good } = await target.tokens(client)
    await everywhere(async () => {
      await target.clock.pass(6_000)
      const bad = await target.call(`${good.slice(0, -6)}AAAAAA`)
      fine(bad.status, [401])
      if (bad.status === 503) expect(bad.headers.get('www-authenticate')).toBeNull()
      const answer = await target.call(good)
      fine(answer.status, [200])
      if (answer.status === 503)
        expect([answer.headers.get('www-authenticate'), answer.headers.has('retry-after')]).toEqual([null, true])
    })

    // A revocation that was answered with 200 has ended the grant.
    for (let at = 1; at <= 10; at++) {
      const { access_token, refresh_token } = await target.tokens(client)
      Object.assign(plan, { at, how, calls: 0 })
      const answer = await target.post('/revoke', { token: refresh_token, ...credentials(client) })
      fine(answer.status, [200])
      heal()
      if (answer.status !== 200) continue
      expect((await target.refresh(client, refresh_token)).status).toBe(400)
      expect((await target.call(access_token)).status).toBe(401)
    }

    expect((await target.redeem(await target.code(client))).status).toBe(200)
  },
)
