import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createVitest, type TestModule, type TestRunResult, type Vitest } from 'vitest/node'
import { kills, type MutationTask, noteKill, type Reached } from './ledger.ts'
import type { Mutant, Mutated } from './mutants.ts'

declare module 'vitest' {
  interface ProvidedContext {
    mutation: MutationTask
  }
  interface TaskMeta {
    reached?: Reached
  }
}

export interface TrialOptions {
  /** Test files, in groups: the cheap ones first, since what one group kills the next ones need not try. */
  readonly phases: readonly (readonly string[])[]
  /** How many processes try at once. */
  readonly workers: number
  /** Mutants that are known to be killed, with what killed them. */
  readonly known: ReadonlyMap<string, string>
  /** Told now and then, with all that are killed so far. */
  readonly progress: (text: string, killed: ReadonlyMap<string, string>) => void
}

export interface Outcome {
  /** By mutant, what killed it. */
  readonly killed: ReadonlyMap<string, string>
  /** Mutants that some test runs through. */
  readonly reached: ReadonlySet<string>
}

/**
 * Tries mutants against tests. First each test file is loaded once, and each of its tests is repeated with each mutant that it runs through. What ran
 * while modules were loaded, and what a test reached that can't be repeated, is then tried again, with everything loaded anew for each.
 * @throws Error where a test fails without any mutant
 */
export const tryMutants = async (
  { mutants, sources }: Mutated,
  { phases, workers, known, progress }: TrialOptions,
): Promise<Outcome> => {
  mkdirSync(cache, { recursive: true })
  const ledger = mkdtempSync(join(cache, 'mutation-'))
  for (const [mutant, by] of known) noteKill(ledger, mutant, by)
  const reporting = setInterval(() => {
    progress('', kills(ledger))
  }, 10_000)
  try {
    const [reached, costs] = await repeatTests(sources, phases, workers, ledger, progress)
    const files = (mutant: Mutant, kinds: readonly Exclude<keyof Reached, 'milliseconds'>[]) =>
      [...reached].filter(([, what]) => kinds.some((kind) => what[kind].includes(mutant.id))).map(([file]) => file)
    const cheapestFirst = (a: string, b: string) => (costs.get(a) ?? 0) - (costs.get(b) ?? 0)
    const killed = kills(ledger)
    const again = mutants
      .filter(({ id }) => !killed.has(id))
      .map((mutant) => ({ mutant, files: files(mutant, ['whileLoading', 'unsure']).sort(cheapestFirst) }))
      .filter((each) => each.files.length > 0)
    progress(`${again.length} mutants to be loaded one by one`, killed)
    await Promise.all(Array.from({ length: workers }, () => loadEach(sources, again, ledger, progress)))
    return {
      killed: kills(ledger),
      reached: new Set([...reached.values()].flatMap((what) => [...what.whileLoading, ...what.inTests])),
    }
  } finally {
    clearInterval(reporting)
    rmSync(ledger, { recursive: true, force: true })
  }
}

const cache = 'node_modules/.cache/countersign'

const repeatTests = async (
  sources: Mutated['sources'],
  phases: TrialOptions['phases'],
  workers: number,
  ledger: string,
  progress: TrialOptions['progress'],
): Promise<readonly [ReadonlyMap<string, Reached>, ReadonlyMap<string, number>]> => {
  const reached = new Map<string, Reached>()
  const costs = new Map<string, number>()
  const vitest = await start(sources, phases.flat(), workers, 3_600_000)
  vitest.provide('mutation', { ledger })
  for (const [index, phase] of phases.entries()) {
    // A process that was ended says nothing of its file: without the mutant that it hung in, it is tried again.
    for (let files = phase; files.length > 0; files = files.filter((file) => !reached.has(file))) {
      const before = [reached.size, kills(ledger).size].join()
      const { testModules } = await run(vitest, files)
      for (const module of testModules) {
        const what = module.meta().reached
        if (what === undefined) continue
        const problem = problemOf(module)
        if (problem !== undefined) throw new Error(`${module.relativeModuleId} fails without a mutant: ${problem}`)
        reached.set(module.relativeModuleId, what)
        costs.set(module.relativeModuleId, what.milliseconds)
      }
      if (before === [reached.size, kills(ledger).size].join()) throw new Error(`these don't end: ${files.join(', ')}`)
    }
    const killed = kills(ledger)
    progress(`tests ${index + 1} of ${phases.length}: ${killed.size} killed`, killed)
  }
  await vitest.close()
  return [reached, costs]
}

/** Takes what is left, one after the other. */
const loadEach = async (
  sources: Mutated['sources'],
  left: { readonly mutant: Mutant; readonly files: readonly string[] }[],
  ledger: string,
  progress: TrialOptions['progress'],
): Promise<void> => {
  const files = left.flatMap((each) => each.files)
  const vitest = await start(sources, files, 1, 60_000)
  for (let next = left.pop(); next; next = left.pop()) {
    const { mutant, files } = next
    vitest.provide('mutation', { ledger, mutant: mutant.id })
    for (const file of files) {
      // A process that ends says nothing: not before it has happened twice.
      const problem = (await problemWith(vitest, file)) ?? (await problemWith(vitest, file))
      if (problem === none) continue
      noteKill(ledger, mutant.id, `${file}: ${problem ?? 'the process ends'}`)
      break
    }
    if (left.length % 25 === 0) progress(`${left.length} left`, kills(ledger))
  }
  await vitest.close()
}

const none = Symbol('no problem')

/** What is wrong with a test file; undefined where nothing was heard of it. */
const problemWith = async (vitest: Vitest, file: string): Promise<string | typeof none | undefined> => {
  const [module] = (await run(vitest, [file])).testModules
  return module && (problemOf(module) ?? none)
}

/** @param testTimeout in milliseconds, of a test with all of its repetitions */
const start = (
  sources: Mutated['sources'],
  include: readonly string[],
  workers: number,
  testTimeout: number,
): Promise<Vitest> =>
  createVitest(
    'test',
    {
      config: false,
      include: [...new Set(include)],
      runner: 'scripts/mutation/runner.ts',
      pool: 'forks',
      maxWorkers: workers,
      execArgv: ['--no-warnings'],
      watch: false,
      reporters: [{}],
      silent: true,
      // Of what a mutant leaves behind.
      dangerouslyIgnoreUnhandledErrors: true,
      testTimeout,
      hookTimeout: 120_000,
      expect: { poll: { timeout: 30_000, interval: 50 } },
    },
    {
      plugins: [
        {
          name: 'mutants',
          enforce: 'pre',
          transform(_code: string, id: string) {
            const code = sources.get(id)
            return code === undefined ? undefined : { code, map: null }
          },
        },
      ],
    },
  )

const run = async (vitest: Vitest, files: readonly string[]): Promise<TestRunResult> => {
  // Else it answers what it knows of other runs, too.
  vitest.state.filesMap.clear()
  const specifications = await vitest.globTestSpecifications([...files])
  return vitest.runTestSpecifications(
    specifications.filter(({ moduleId }) => files.some((file) => moduleId.endsWith(`/${file}`))),
  )
}

const problemOf = (module: TestModule): string | undefined => {
  const [error] = module.errors()
  if (error) return error.message
  for (const test of module.children.allTests('failed')) {
    return `${test.fullName}: ${test.result().errors?.[0]?.message ?? 'failed'}`
  }
  return module.state() === 'failed' ? 'a hook failed' : undefined
}
