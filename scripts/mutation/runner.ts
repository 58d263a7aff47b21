import { performance } from 'node:perf_hooks'
import { Worker } from 'node:worker_threads'
import { type SerializedConfig, TestRunner } from 'vitest'
import { isKilled, type MutationTask, noteKill, type Reached } from './ledger.ts'

type Hook = (context: Test['context']) => unknown
type Test = Parameters<TestRunner['onAfterTryTask']>[0] & {
  /** What the test asked for while it ran. */
  onFinished?: Hook[] | undefined
  onFailed?: Hook[] | undefined
}
type Suite = Parameters<TestRunner['onBeforeRunSuite']>[0]

/** What the instrumented code reads and writes. */
interface Instruments {
  activeMutant?: string | undefined
  currentTestId?: string | undefined
  hitCount?: number | undefined
  hitLimit?: number | undefined
  mutantCoverage?: { readonly static: Record<string, number>; readonly perTest: Record<string, Record<string, number>> }
}

const realm = globalThis as { __stryker__?: Instruments }
realm.__stryker__ ??= {}
const instruments = realm.__stryker__
// Tests may replace it.
const { setTimeout, clearTimeout } = globalThis

/** A test, and the mutants that it runs through, with how often. */
interface Trials {
  readonly test: Test
  /** Milliseconds, without a mutant. */
  readonly took: number
  readonly hits: readonly (readonly [mutant: string, count: number])[]
}

/** The mutant that is active, or -1; since when, in seconds since the epoch; and the memory in use then, in MiB. */
const trial = new Int32Array(new SharedArrayBuffer(12))
const noteTrial = (mutant: string | undefined): void => {
  trial[0] = mutant === undefined ? -1 : Number(mutant)
  trial[1] = Math.floor(Date.now() / 1000)
  trial[2] = process.memoryUsage.rss() / 2 ** 20
}

/** In a loop without end, or one that fills the memory, nothing but the end of the process helps, and only another thread can see to that. */
const watch = (ledger: string): void => {
  const watcher = `
    const { workerData: { trial, ledger } } = require('node:worker_threads')
    setInterval(() => {
      if (trial[0] < 0) return
      if (Date.now() / 1000 - trial[1] < 300 && process.memoryUsage.rss() / 2 ** 20 - trial[2] < 2_048) return
      require('node:fs').writeFileSync(ledger + '/killed-' + trial[0], 'it has no end')
      process.kill(process.pid, 'SIGKILL')
    }, 2_000)`
  new Worker(watcher, { eval: true, workerData: { trial, ledger } }).unref()
}

/**
 * Runs each test as it is, and then again with each mutant that it reached: a mutant that makes it fail is killed, if without it the test
 * passes again. So nothing is loaded twice, and a mutant costs as much as the tests that reach it.
 */
export default class MutationRunner extends TestRunner {
  readonly #task: MutationTask
  readonly #inTests = new Set<string>()
  readonly #unsure = new Set<string>()
  #milliseconds = 0
  /** Tried when all others were: what those killed need not be tried. */
  readonly #slow: Trials[] = []

  constructor(config: SerializedConfig) {
    super(config)
    this.#task = this.injectValue('mutation') as MutationTask
    noteTrial(this.#task.mutant)
    watch(this.#task.ledger)
    instruments.activeMutant = this.#task.mutant
    instruments.hitCount = 0
    instruments.hitLimit = 1_000_000
  }

  async runTask(test: Test): Promise<void> {
    const run = TestRunner.getTestFn(test)
    if (this.#task.mutant !== undefined) return run()
    instruments.currentTestId = test.id
    const startedAt = performance.now()
    try {
      await run()
    } finally {
      instruments.currentTestId = undefined
    }
    const took = performance.now() - startedAt
    this.#milliseconds += took
    const hits = Object.entries(instruments.mutantCoverage?.perTest[test.id] ?? {})
    for (const [mutant] of hits) this.#inTests.add(mutant)
    const trials = { test, took, hits }
    if (took > 100 && suitesOf(test).every((suite) => TestRunner.getSuiteHooks(suite).afterAll.length === 0)) {
      this.#slow.push(trials)
      return
    }
    const { onFinished, onFailed } = test
    await tearDown(test, [])
    await this.#tryEach(trials)
    await setUp(test)
    Object.assign(test, { onFinished, onFailed })
  }

  async #tryEach({ test, took, hits }: Trials): Promise<void> {
    const longest = 5_000 + 5 * took
    for (const [index, [mutant, count]] of hits.entries()) {
      if (isKilled(this.#task.ledger, mutant)) continue
      const once = await this.#try(test, longest, mutant, count * 100 + 1_000)
      // The machine may have been busy.
      const outcome = once === 'late' ? await this.#try(test, longest * 6, mutant, count * 100 + 1_000) : once
      if (outcome === 'passed') continue
      if ((await this.#try(test, longest * 6)) === 'passed') {
        noteKill(this.#task.ledger, mutant, `${test.file.name} > ${test.name}${outcome === 'late' ? ': too late' : ''}`)
        continue
      }
      for (const [unsure] of hits.slice(index)) this.#unsure.add(unsure)
      break
    }
  }

  async #try(test: Test, longest: number, mutant?: string, hitLimit = 0): Promise<'passed' | 'failed' | 'late'> {
    Object.assign(test, { onFinished: undefined, onFailed: undefined })
    const result = { ...test.result }
    noteTrial(mutant)
    Object.assign(instruments, { activeMutant: mutant, hitCount: 0, hitLimit })
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), longest)
    })
    const trial = (async () => {
      const cleanUps = await setUp(test)
      try {
        await TestRunner.getTestFn(test)()
      } finally {
        instruments.activeMutant = undefined
        await tearDown(test, cleanUps)
      }
    })()
    trial.catch(() => {})
    try {
      if ((await Promise.race([trial, late])) === 'late') return 'late'
      return test.result?.state === 'fail' ? 'failed' : 'passed'
    } catch {
      return 'failed'
    } finally {
      clearTimeout(timer)
      noteTrial(undefined)
      instruments.activeMutant = undefined
      test.result = result as NonNullable<Test['result']>
      for (const hook of (test.onFinished ?? []).toReversed()) await Promise.resolve(hook(test.context)).catch(() => {})
    }
  }

  override async onAfterRunSuite(suite: Suite): Promise<void> {
    await super.onAfterRunSuite(suite)
    if (!('filepath' in suite)) return
    for (const trials of this.#slow.toSorted((a, b) => a.took - b.took)) await this.#tryEach(trials)
    const reached: Reached = {
      whileLoading: Object.keys(instruments.mutantCoverage?.static ?? {}),
      inTests: [...this.#inTests],
      unsure: [...this.#unsure],
      milliseconds: this.#milliseconds + (suite.file.collectDuration ?? 0),
    }
    Object.assign(suite.meta, { reached })
  }
}

/** @returns what is to be called afterwards */
const setUp = async (test: Test): Promise<unknown[]> => {
  const cleanUps: unknown[] = []
  for (const suite of suitesOf(test)) {
    for (const hook of TestRunner.getSuiteHooks(suite).beforeEach) cleanUps.push(await hook(test.context, suite))
  }
  return cleanUps
}

const tearDown = async (test: Test, cleanUps: readonly unknown[]): Promise<void> => {
  for (const suite of suitesOf(test).reverse()) {
    for (const hook of TestRunner.getSuiteHooks(suite).afterEach) await hook(test.context, suite)
  }
  for (const cleanUp of cleanUps) if (typeof cleanUp === 'function') await cleanUp()
}

const suitesOf = (test: Test): Suite[] => {
  const suites: Suite[] = []
  for (
    let suite: Suite | undefined = test.suite ?? test.file;
    suite;
    suite = suite.suite ?? (suite === suite.file ? undefined : suite.file)
  ) {
    suites.unshift(suite)
  }
  return suites
}
