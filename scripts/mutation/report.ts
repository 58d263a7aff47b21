import { type Harmless, harmless } from './harmless.ts'
import { instrumenterVersion, type Mutant } from './mutants.ts'
import type { Outcome } from './trials.ts'

export interface RoomOutcome {
  readonly room: string
  readonly mutants: number
  readonly killed: number
  /** Survived, and shown in `harmless.ts` to change nothing that matters. */
  readonly harmless: number
  readonly survivors: readonly Mutant[]
}

export const outcomeOf = (room: string, mutants: readonly Mutant[], { killed }: Outcome): RoomOutcome => {
  const left = mutants.filter(({ id }) => !killed.has(id))
  const survivors = left.filter((mutant) => !harmless.some((each) => isNamedBy(mutant, each)))
  return {
    room,
    mutants: mutants.length,
    killed: mutants.length - left.length,
    harmless: left.length - survivors.length,
    survivors,
  }
}

/** Named by what stands in the code: it may move. */
const isNamedBy = (mutant: Mutant, { file, original, replacement }: Harmless): boolean =>
  mutant.file === file && mutant.original === original && (replacement ?? mutant.replacement) === mutant.replacement

/** A mutant as people read it. */
export const described = ({ file, line, column, mutator, original, replacement }: Mutant): string =>
  [
    `${file}:${line}:${column} ${mutator}`,
    ...original.split('\n').map((each) => `- ${each}`),
    ...replacement.split('\n').map((each) => `+ ${each}`),
  ].join('\n')

/** The part of docs/quality.md. */
export const report = (rooms: readonly RoomOutcome[], whole: boolean): string => {
  const row = (name: string, all: readonly RoomOutcome[]) => {
    const [mutants, killed, equal] = [sum(all, 'mutants'), sum(all, 'killed'), sum(all, 'harmless')]
    const left = mutants - killed - equal
    const score = ((100 * (killed + equal)) / mutants).toFixed(1)
    return `| ${name} | ${mutants} | ${killed} | ${equal} | ${left} | ${score} % |`
  }
  const versions = `mutants of StrykerJS ${instrumenterVersion}, Node ${process.versions.node}`
  return [
    '# Mutation testing',
    '',
    'Small faults put into the code, one at a time: `<` for `<=`, a condition that is always true, a text that is empty, a block without content. A fault that',
    'no test notices shows what is not tested. Written by `npm run mutate`. The words of messages are not mutated. *Harmless* is what survived and was',
    'looked at: it changes nothing that anybody could tell, or nothing that matters; each is named, with the reason, in `scripts/mutation/harmless.ts`.',
    '',
    `${new Date().toISOString().slice(0, 10)}, ${versions}.`,
    ...(whole
      ? []
      : [
          'Tried as the code changed: what was killed is not tried again while the same stands in its file. *Left* is what survived, or was not tried yet.',
        ]),
    '',
    `| | mutants | killed | harmless | ${whole ? 'survived' : 'left'} | killed or harmless |`,
    '|---|---|---|---|---|---|',
    ...rooms.map((each) => row(each.room, [each])),
    ...(rooms.length > 1 ? [row('**all**', rooms)] : []),
    '',
    ...survivorsByFile(
      rooms.flatMap(({ survivors }) => survivors),
      whole,
    ),
  ].join('\n')
}

const survivorsByFile = (survivors: readonly Mutant[], whole: boolean): string[] => {
  if (survivors.length === 0) return []
  const files = new Map<string, Mutant[]>()
  for (const mutant of survivors) files.set(mutant.file, [...(files.get(mutant.file) ?? []), mutant])
  const lines = [...files].map(
    ([file, all]) => `${file.replace(/^src\//, '')} (${[...new Set(all.map(({ line }) => line))].join(', ')})`,
  )
  return [`What ${whole ? 'survived' : 'is left'}, by line:`, '', ...lines.map((line) => `- ${line}`), '']
}

const sum = (rooms: readonly RoomOutcome[], what: 'mutants' | 'killed' | 'harmless'): number =>
  rooms.reduce((total, each) => total + each[what], 0)
