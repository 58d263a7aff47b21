import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { run } from '../../src/cli/run.ts'
import { sqlite } from '../../src/store/sqlite.ts'
import type { Provider } from '../../src/upstream/provider.ts'
import { createTarget, elsewhere, upstreamSecrets, verifier } from '../attacks/support/target.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const folder = temporaryDirectory()
afterAll(() => folder.remove())

/** A provider that can end tokens, and those that it was asked to end. */
const revocable = () => {
  const revoked: string[] = []
  const provider: Provider = {
    ...elsewhere('a'),
    open(context) {
      const open = elsewhere('a').open(context)
      if (open.kind !== 'redirect') throw new Error('unexpected')
      return {
        ...open,
        async revoke({ accessToken }) {
          revoked.push(accessToken)
          return 'revoked'
        },
      }
    },
  }
  return { provider, revoked }
}

test.each(['a server that runs', 'the next server that is started'])(
  'the command line, which knows no providers, leaves their tokens of a deleted account to %s',
  async (who) => {
    const path = join(folder.path, `${randomBytes(6).toString('hex')}.db`)
    const key = randomBytes(32).toString('base64')
    const { provider, revoked } = revocable()
    const target = await createTarget({ store: sqlite(path), secret: key, clock: undefined, upstream: provider })
    const client = await target.register()
    const browser = target.browser()
    const asked = await browser.submit(await browser.open(target.authorizeUrl(client)), 'approve')
    const state = asked.left?.searchParams.get('state')
    const { left } = await browser.open(`https://auth.example.com/authorize/callback/a?state=${state}&code=Carol`)
    expect(
      (await target.redeem({ code: left?.searchParams.get('code') ?? '', client, verifier })).body.access_token,
    ).toBeTruthy()
    const [account] = (await target.auth.accounts.list()).accounts
    if (who !== 'a server that runs') await target.auth.close()

    let [out, error] = ['', '']
    const code = await run(['accounts', 'delete', account?.id ?? ''], {
      environment: { COUNTERSIGN_STORE: path, COUNTERSIGN_SECRET: key },
      out: (text) => {
        out += text
      },
      error: (text) => {
        error += text
      },
    })
    expect(code, error).toBe(0)
    expect(out).toBe('Deleted, with 1 grants and 1 sign-ins. 1 will be ended at the provider by a server.\n')
    expect(out + error).not.toContain(upstreamSecrets.accessToken)
    const next =
      who === 'a server that runs'
        ? target
        : await createTarget({ store: sqlite(path), secret: key, clock: undefined, upstream: provider })
    await next.auth.ready()
    await expect.poll(() => revoked, { timeout: 60_000 }).toEqual([upstreamSecrets.accessToken])
    const remaining = sqlite(path)
    const noted = async () => (await remaining.list('pending-revocation/', { limit: 1 })).entries
    await expect.poll(noted, { timeout: 60_000 }).toEqual([])
    await remaining.close()
    await next.auth.close()
  },
)
