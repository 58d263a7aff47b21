/** Sweeps a store's file as a server does, step by step, once round; then again when a tenth of its rows has expired. Tells how long that took. */
import { database } from '../../src/store/sqlite/database.ts'
import { loadDriver } from '../../src/store/sqlite/driver.ts'
import { sweep } from '../../src/store/sqlite/sweep.ts'
import { report } from '../harness/measured.ts'

export interface SweepFacts {
  readonly rows: number
  /** Milliseconds of the median step. */
  readonly step: number
  /** Seconds once through all rows: with nothing to delete, and with a tenth of them. */
  readonly nothing: number
  readonly tenth: number
}

const { BENCH_FILE: path } = process.env
if (path === undefined) throw new Error('BENCH_FILE: which file')
const driver = loadDriver()
const connection = driver(path)
const count = () => Number(connection.prepare('SELECT count(*) AS n FROM entries').get()?.n)
const file = database(path, driver)

async function round(): Promise<{ readonly step: number; readonly seconds: number }> {
  const steps = sweep()
  const last = Number(connection.prepare('SELECT max(rowid) AS last FROM entries').get()?.last)
  const rows = Number(connection.prepare('SELECT min(rowid) AS first FROM entries').get()?.first)
  const times: number[] = []
  const begin = performance.now()
  // A step looks at 256 rows.
  for (let done = 0; done <= (last - rows) / 256; done++) {
    const at = performance.now()
    await file.use((statements) => {
      statements.beginImmediate.run()
      steps.step(statements, Date.now())
      statements.commit.run()
    })
    times.push(performance.now() - at)
  }
  times.sort((a, b) => a - b)
  return { step: times[Math.floor(times.length / 2)] ?? 0, seconds: (performance.now() - begin) / 1000 }
}

const rows = count()
const calm = await round()
connection.exec('UPDATE entries SET expires = 1 WHERE rowid % 10 = 0')
const busy = await round()
if (count() > rows * 0.91) throw new Error('what has expired was not swept')
connection.close()
file.close()
report(0, { rows, step: calm.step, nothing: calm.seconds, tenth: busy.seconds } satisfies SweepFacts)
