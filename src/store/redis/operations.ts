import { setTimeout as delay } from 'node:timers/promises'
import { StoreUnavailable } from '../store.ts'
import type { Connection } from './connection.ts'
import { givenUp, LONGEST_WAIT } from './connection.ts'
import type { Script } from './scripts.ts'
import { LATE } from './scripts.ts'

/** Scripts with a bounded wait, and with the engine's clock kept in mind. */
export interface Operations {
  /**
   * @returns the engine's time, then what the script says
   * @throws StoreUnavailable after {@link LONGEST_WAIT} at the latest
   */
  read(script: Script, keys: readonly string[], values: readonly string[]): Promise<readonly unknown[]>
  /**
   * Puts the engine's time before which the script must run before its values. So a write that was held up on its way is not applied
   * after its caller gave up and read back.
   *
   * @returns the engine's time, then what the script says
   */
  write(script: Script, keys: readonly string[], values: readonly (string | Uint8Array)[]): Promise<readonly unknown[]>
}

export function operations(connection: Pick<Connection, 'run'>): Operations {
  /** From the process's monotonic clock to the engine's: at most what it really is, by the time that an answer takes. */
  let offset = 0

  async function run(...[script, keys, values]: Parameters<Connection['run']>): Promise<readonly unknown[]> {
    const answer = await connection.run(script, keys, values)
    offset = Number(answer[0]) - performance.now()
    return answer
  }

  return {
    read: (script, keys, values) => within(run(script, keys, values)),
    write(script, keys, values) {
      const end = performance.now() + LONGEST_WAIT
      const attempt = async () => {
        const deadline = String(Math.floor(offset + end))
        const answer = await run(script, keys, [deadline, ...values]).catch(async (error: unknown) => {
          // Nobody may read back while it can still be applied.
          if (givenUp(error)) await delay(end - performance.now())
          throw error
        })
        const [now, outcome, ...said] = answer
        return String(outcome) === LATE ? undefined : [now, ...said]
      }
      // Refused in time, it is the engine's clock that went ahead, after a failover perhaps: it was not run, and the answer said the time.
      const attempts = async () => {
        const answer = (await attempt()) ?? (performance.now() < end ? await attempt() : undefined)
        if (answer === undefined) throw new StoreUnavailable('the Redis store answered too late')
        return answer
      }
      return within(attempts())
    },
  }
}

/** Timers may be early by a millisecond, and must not be before the deadline of a write. */
const TIMER_ERROR = 5

function within<T>(work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new StoreUnavailable(`the Redis store did not answer within ${LONGEST_WAIT} ms`))
    }, LONGEST_WAIT + TIMER_ERROR)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
