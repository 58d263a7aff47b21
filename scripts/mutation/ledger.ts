/** What processes of one mutation run tell each other, as files in one directory: a process may be killed while it holds a mutant. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** The value that a worker is provided with. */
export interface MutationTask {
  readonly ledger: string
  /** The one mutant that is active from the first import on; without it, all that a test reaches are tried by repeating the test. */
  readonly mutant?: string
}

/** What the tests of one file reached. */
export interface Reached {
  /** Mutants that ran while modules were loaded: repeating a test does not run them again. */
  readonly whileLoading: readonly string[]
  readonly inTests: readonly string[]
  /** Reached by a test that can't be repeated in its process. */
  readonly unsure: readonly string[]
  /** What loading and running them took, without a mutant. */
  readonly milliseconds: number
}

export const noteKill = (ledger: string, mutant: string, by: string): void =>
  writeFileSync(join(ledger, `killed-${mutant}`), by)

export const isKilled = (ledger: string, mutant: string): boolean => existsSync(join(ledger, `killed-${mutant}`))

export const kills = (ledger: string): Map<string, string> =>
  new Map(
    readdirSync(ledger)
      .filter((name) => name.startsWith('killed-'))
      .map((name) => [name.slice('killed-'.length), readFileSync(join(ledger, name), 'utf8')]),
  )
