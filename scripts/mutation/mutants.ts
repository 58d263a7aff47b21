import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { npmTool } from '../../tests/support/npm-tool.ts'

/** Of StrykerJS, whose mutants these are; the last line that runs on Node 20. */
export const instrumenterVersion = '9.6.1'

export interface Mutant {
  readonly id: string
  /** Relative to the project. */
  readonly file: string
  readonly line: number
  readonly column: number
  /** What was done, by its name in the list of the mutators. @see https://stryker-mutator.io/docs/mutation-testing-elements/supported-mutators/ */
  readonly mutator: string
  /** What stands there, and instead of it. */
  readonly original: string
  readonly replacement: string
}

export interface Mutated {
  readonly mutants: readonly Mutant[]
  /** The text of each file with all of its mutants in it, by absolute path. */
  readonly sources: ReadonlyMap<string, string>
}

/** Makes the mutants of these files. All of them are in the code at once; which one is active is a question when it runs. */
export const mutate = async (files: readonly string[]): Promise<Mutated> => {
  const originals = new Map(files.map((name) => [resolve(name), readFileSync(name, 'utf8')]))
  const { files: instrumented, mutants } = await (await instrumenter()).instrument(
    [...originals].map(([name, content]) => ({ name, content, mutate: true })),
    { plugins: null, excludedMutations: [], ignorers: [{ shouldIgnore: messageText }] },
  )
  return {
    mutants: mutants
      .filter(({ status }) => status === undefined)
      .map(({ id, fileName, location: { start, end }, mutatorName: mutator, replacement }) => ({
        id,
        file: files.find((name) => resolve(name) === fileName) ?? fileName,
        line: start.line + 1,
        column: start.column + 1,
        mutator,
        original: excerpt(originals.get(fileName) ?? '', start, end),
        replacement,
      })),
    sources: new Map(instrumented.map(({ name, content }) => [name, decidedWhenCalled(content)])),
  }
}

/** What is used of the package, whose types come with it only where it is installed. */
interface Instrumenter {
  instrument(
    files: readonly { readonly name: string; readonly content: string; readonly mutate: boolean }[],
    options: { plugins: null; excludedMutations: string[]; ignorers: { shouldIgnore: typeof messageText }[] },
  ): Promise<{
    readonly files: readonly { readonly name: string; readonly content: string }[]
    readonly mutants: readonly {
      readonly id: string
      readonly fileName: string
      readonly location: { readonly start: Position; readonly end: Position }
      readonly mutatorName: string
      readonly replacement: string
      readonly status?: string
    }[]
  }>
}

interface Position {
  readonly line: number
  readonly column: number
}

const instrumenter = async (): Promise<Instrumenter> => {
  const modules = await npmTool('@stryker-mutator/instrumenter', instrumenterVersion)
  const entry = join(modules, '@stryker-mutator/instrumenter/dist/src/index.js')
  const { Instrumenter } = (await import(pathToFileURL(entry).href)) as {
    Instrumenter: new (logger: object) => Instrumenter
  }
  return new Instrumenter(silent)
}

const excerpt = (text: string, start: Position, end: Position): string => {
  const lines = text.split('\n').slice(start.line, end.line + 1)
  if (lines.length === 1) return lines.join('').slice(start.column, end.column)
  return [lines[0]?.slice(start.column), ...lines.slice(1, -1), lines.at(-1)?.slice(0, end.column)].join('\n')
}

/**
 * Whether a function of a module is the one without content is decided where it is made, which is when the module is loaded; and then each of these
 * mutants would need to be loaded by itself. Decided when it is called, it can be tried like all others.
 */
const decidedWhenCalled = (text: string): string =>
  `${text.replace(emptied, '$1stryLater_9fa48("$2", ')}
function stryLater_9fa48(id, made) {
  return function (...given) {
    stryCov_9fa48(id)
    return stryMutAct_9fa48(id) ? undefined : made.apply(this, given)
  }
}
`

const emptied =
  /^((?:export )?const .*? = )stryMutAct_9fa48\("(\d+)"\) \? \(\) => undefined : \(stryCov_9fa48\("\2"\), /gm

interface Node {
  readonly type: string
  readonly name?: string
  readonly callee?: Node
  readonly object?: Node
  readonly property?: Node
}

/** What is said to people is not what is checked: no test should hold the words of an error. */
const messageText = (path: object): string | undefined => {
  const { node, parent, key, listKey } = path as { node: Node; parent?: Node; key?: unknown; listKey?: unknown }
  if (listKey !== 'arguments' || (node.type !== 'StringLiteral' && node.type !== 'TemplateLiteral')) return undefined
  const callee = parent?.callee
  const made = parent?.type === 'NewExpression' ? callee?.name : undefined
  const isMessage =
    callee?.type === 'Super' ||
    callee?.name === 'refused' ||
    callee?.object?.name === 'logger' ||
    callee?.object?.property?.name === 'logger' ||
    (made !== undefined && (plainErrors.has(made) || (made.endsWith('Error') && Number(key) > 0)))
  return isMessage ? 'the text of a message' : undefined
}

const plainErrors: ReadonlySet<string> = new Set(['Error', 'TypeError', 'VerifierUnavailable', 'NoAccessToken'])

const no = () => false
const nothing = () => {}
const silent = {
  ...{ isTraceEnabled: no, isDebugEnabled: no, isInfoEnabled: no, isWarnEnabled: no, isErrorEnabled: no },
  ...{
    isFatalEnabled: no,
    trace: nothing,
    debug: nothing,
    info: nothing,
    warn: nothing,
    error: nothing,
    fatal: nothing,
  },
}
