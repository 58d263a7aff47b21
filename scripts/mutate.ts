/**
 * Mutation testing: `npm run mutate` puts small faults into the code, one at a time, and looks whether a test notices. It writes its part of docs/quality.md.
 * `-- --room oauth --list FILE` tries one room and writes what survived to a file instead; `--known FILE` keeps there what was killed, so that
 * the next run need not try it again; `--only-report` tries nothing and writes what is known.
 */
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type Mutant, mutate } from './mutation/mutants.ts'
import { described, outcomeOf, report } from './mutation/report.ts'
import { type Outcome, tryMutants } from './mutation/trials.ts'
import { withPart } from './quality.ts'

/** The files of a folder, all or those of these names. */
const inFolder = (folder: string, ending: string, names: readonly string[]): string[] => {
  const found = readdirSync(folder).filter((file) => file.endsWith(ending))
  const missing = names.filter((name) => !found.includes(name + ending))
  if (missing.length > 0) throw new Error(`${folder} has no ${missing.join(', ')}`)
  return found
    .filter((file) => names.length === 0 || names.includes(file.slice(0, -ending.length)))
    .map((file) => `${folder}/${file}`)
}
const source = (room: string, ...names: string[]) => inFolder(`src/${room}`, '.ts', names)
const tests = (room: string, ...names: string[]) => inFolder(`tests/${room}`, '.test.ts', names)

const rooms: Readonly<Record<string, readonly string[]>> = {
  identity: source('identity'),
  oauth: source('oauth'),
  'resource-server': source('resource-server'),
  'token checks': [
    ...source('crypto', 'bytes', 'hash', 'jws'),
    ...source('policy', 'exchange', 'redemption', 'refresh'),
    ...source('authorization-server', 'access-token', 'signed-access-token', 'own-verifier', 'liveness'),
    ...source('authorization-server', 'identify', 'known-client', 'fitting-claims'),
    ...source('authorization-server', 'presented-token', 'tokens', 'introspect', 'dpop', 'target'),
  ],
}

const phases = [
  [...tests('identity'), ...tests('oauth'), ...tests('policy'), ...tests('crypto')],
  tests('resource-server'),
  [
    ...tests('authorization-server', 'own-verifier', 'signed-access-token', 'tokens', 'target', 'access-token'),
    ...tests('authorization-server', 'presented-token', 'liveness', 'remembered-tokens', 'dpop-checks', 'dpop'),
    ...tests('authorization-server', 'introspection', 'introspected-refresh-token', 'introspection-memory', 'identify'),
    ...tests('authorization-server', 'signed-introspection', 'token-exchange', 'metadata', 'holding', 'large-claims'),
  ],
  [
    ...tests('authorization-server', 'redeeming', 'refreshing', 'revocation', 'client-credentials', 'clients'),
    ...tests('authorization-server', 'registration', 'client-metadata-documents', 'workload'),
  ],
  tests('mcp', 'policy', 'request-policy', 'sessions', 'list-filter'),
]

const { values } = parseArgs({
  options: {
    room: { type: 'string', multiple: true, default: Object.keys(rooms) },
    workers: { type: 'string', default: '2' },
    tests: { type: 'string', multiple: true, default: ['tests/'] },
    list: { type: 'string' },
    known: { type: 'string' },
    report: { type: 'string', default: 'docs/quality.md' },
    'only-report': { type: 'boolean', default: false },
  },
})
const roomOf = new Map(
  values.room.flatMap((room) => {
    const files = rooms[room]
    if (!files) throw new Error(`--room: one of ${Object.keys(rooms).join(', ')}`)
    return files.map((file) => [file, room] as const)
  }),
)

const mutated = await mutate([...roomOf.keys()])
const { mutants } = mutated
console.log(`${mutants.length} mutants in ${roomOf.size} files`)

/** By what stands in the code: it may move. */
const keys = new Map<string, string>()
const counts = new Map<string, number>()
for (const { id, file, mutator, original, replacement } of mutants) {
  const text = [file, mutator, original, replacement].join('\n')
  const count = (counts.get(text) ?? 0) + 1
  counts.set(text, count)
  keys.set(id, `${text}\n${count}`)
}
const keyOf = ({ id }: Mutant): string => keys.get(id) ?? id
const readKnown = (): Record<string, string> =>
  values.known !== undefined && existsSync(values.known) ? JSON.parse(readFileSync(values.known, 'utf8')) : {}
const save = (killed: ReadonlyMap<string, string>): void => {
  if (values.known === undefined) return
  const all = readKnown()
  for (const mutant of mutants) {
    const by = killed.get(mutant.id)
    if (by !== undefined) all[keyOf(mutant)] = by
  }
  // Several runs may share it.
  const written = `${values.known}.${process.pid}`
  writeFileSync(written, JSON.stringify(all, null, 1))
  renameSync(written, values.known)
}

const before = readKnown()
const known = new Map(
  mutants.flatMap((mutant) => {
    const by = before[keyOf(mutant)]
    return by === undefined ? [] : [[mutant.id, by] as const]
  }),
)
const outcome: Outcome = values['only-report']
  ? { killed: known, reached: new Set() }
  : await tryMutants(mutated, {
      phases: phases.map((phase) => phase.filter((file) => values.tests.some((each) => file.startsWith(each)))),
      workers: Number(values.workers),
      known,
      progress(text, killed) {
        if (text !== '') console.log(text)
        save(killed)
      },
    })
save(outcome.killed)

const results = values.room.map((room) =>
  outcomeOf(
    room,
    mutants.filter(({ file }) => roomOf.get(file) === room),
    outcome,
  ),
)
for (const { room, mutants: all, killed, harmless, survivors } of results) {
  console.log(`${room}: ${all} mutants, ${killed} killed, ${harmless} harmless, ${survivors.length} survived`)
}
const survivors = results.flatMap((each) => each.survivors)
if (values.list !== undefined) {
  const reached = (mutant: Mutant) => (outcome.reached.has(mutant.id) ? '' : 'no test runs through it: ')
  writeFileSync(values.list, survivors.map((mutant) => `${reached(mutant)}${described(mutant)}\n`).join('\n'))
}
if (values.room.length === Object.keys(rooms).length) {
  const document = existsSync(values.report) ? readFileSync(values.report, 'utf8') : ''
  writeFileSync(
    values.report,
    withPart(document, report(results, !values['only-report'] && values.tests.includes('tests/'))),
  )
}
