import { join } from 'node:path'
import { authorizer, redeem } from '../harness/countersign-sign-in.ts'
import { dataFolder } from '../harness/data-folder.ts'
import type { Variant } from '../harness/rounds.ts'
import { startServer } from '../harness/server-process.ts'
import { refreshing } from './refresh.ts'

/** More than the pages that SQLite keeps in memory, where each is on a page of its own. */
const DEVICES = 1_000

/**
 * Rotating refresh of a thousand devices, alone in the store and among many other grants. Those are copies, under ids of their own, of what
 * the devices' grants wrote: the grants, their index entries, and the upstream sessions that they stand on.
 */
export const manyGrants = (many: number): readonly Variant[] =>
  [DEVICES, many].map((grants) => ({
    name: `${grants.toLocaleString('en')} grants`,
    async start() {
      const data = dataFolder()
      const first = await startServer('countersign', { BENCH_DATA: data })
      const { port } = first.ready
      const { clientId, next, redirectUri } = await authorizer(first)
      const tokens: string[] = []
      while (tokens.length < DEVICES) {
        tokens.push((await redeem(port, clientId, redirectUri, await next())).refresh_token)
      }
      await first.stop()
      const file = join(data, 'countersign.db')
      const fill = await startServer('fill', { BENCH_FILE: file, BENCH_GRANTS: String(grants) })
      await fill.stop()
      const filled = (fill.ready.facts as { grants: number }).grants
      if (filled < grants) throw new Error(`only ${filled} grants are in the store, not ${grants}`)
      // The port is a part of the issuer, which the grants name.
      const server = await startServer('countersign', { BENCH_DATA: data, BENCH_PORT: String(port) })
      return { server, clients: refreshing(clientId, tokens) }
    },
  }))
