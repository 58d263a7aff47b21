import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { accounts } from './commands/accounts.ts'
import { audit } from './commands/audit.ts'
import { clients } from './commands/clients.ts'
import type { Command, Values } from './commands/command.ts'
import { grants } from './commands/grants.ts'
import { keys } from './commands/keys.ts'
import { migrate, store } from './commands/store.ts'
import { createOutput, printable } from './output.ts'
import { type SettingFlags, settingOf } from './setting.ts'
import { CommandFailed, UsageError, usage } from './usage.ts'

export interface Io {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly out: (text: string) => void
  readonly error: (text: string) => void
}

const table: Readonly<Record<string, Readonly<Record<string, Command>> | Command>> = {
  ...{ accounts, audit, clients, grants, keys, store, migrate },
}

const common: NonNullable<Command['options']> = {
  config: { type: 'string' },
  store: { type: 'string' },
  'secret-file': { type: 'string' },
  url: { type: 'string' },
  audit: { type: 'string' },
  json: { type: 'boolean' },
}

/** Does what the command line says, and answers the exit code. */
export const run = async (args: readonly string[], { environment, out, error: write }: Io): Promise<number> => {
  const error = (text: string) => write(text.split('\n').map(printable).join('\n'))
  try {
    const [first, second] = args
    if (first === undefined || args.includes('--help') || first === 'help') {
      out(usage)
      return first === undefined ? 2 : 0
    }
    if (first === '--version') {
      out(`${version()}\n`)
      return 0
    }
    const { command, rest } = find(first, second, args)
    const { values, argument } = parse(command, rest)
    const setting = settingOf(values as SettingFlags, environment, {
      warn: (text) => error(`${text}\n`),
      mayMakeStore: command.makesStore ?? false,
    })
    try {
      await command.run({ setting, values, argument, output: createOutput(values.json === true, out) })
    } finally {
      await setting.close()
    }
    return 0
  } catch (caught) {
    error(`countersign: ${messageOf(caught)}\n`)
    if (caught instanceof UsageError) error('`countersign --help` says what there is.\n')
    return caught instanceof UsageError ? 2 : 1
  }
}

const find = (first: string, second: string | undefined, args: readonly string[]) => {
  const found = Object.hasOwn(table, first) ? table[first] : undefined
  if (!found) throw new UsageError(`"${first}" is no command`)
  if (isCommand(found)) return { command: found, rest: args.slice(1) }
  const command = second !== undefined && Object.hasOwn(found, second) ? found[second] : undefined
  if (!command) throw new UsageError(`${first} what? One of ${Object.keys(found).join(', ')}`)
  return { command, rest: args.slice(2) }
}

const isCommand = (found: Readonly<Record<string, Command>> | Command): found is Command =>
  typeof found.run === 'function'

const parse = (command: Command, args: readonly string[]): { values: Values; argument: string } => {
  const options = { ...common, ...command.options }
  const { ids, others } = apart(args, options)
  const { values, positionals } = (() => {
    try {
      return parseArgs({ args: others, options, allowPositionals: true })
    } catch (error) {
      throw new UsageError(error instanceof Error ? error.message.split('. ')[0] : String(error))
    }
  })()
  const [argument = '', ...more] = [...ids, ...positionals]
  if (command.argument !== undefined && argument === '') throw new UsageError(`${command.argument} is missing`)
  if (more.length > 0 || (command.argument === undefined && argument !== '')) {
    throw new UsageError(`what is "${more[0] ?? argument}"?`)
  }
  return { values: values as Values, argument }
}

/**
 * An id may begin with one hyphen or two, as an argument and as the value of an option. There are no short options, and no long one is
 * as long as an id.
 */
const apart = (
  args: readonly string[],
  options: NonNullable<Command['options']>,
): { readonly ids: readonly string[]; readonly others: string[] } => {
  const isOption = (arg: string | undefined) => arg?.startsWith('--') === true && arg.slice(2) in options
  const ids: string[] = []
  const others: string[] = []
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] ?? ''
    const next = args[at + 1]
    if (isOption(arg) && options[arg.slice(2)]?.type === 'string' && next !== undefined && !isOption(next)) {
      others.push(`${arg}=${next}`)
      at += 1
    } else if (/^-[^-]|^--[\w-]{20}$/.test(arg) && !isOption(arg)) ids.push(arg)
    else others.push(arg)
  }
  return { ids, others }
}

/** What our own errors say; of others the name alone could be no help, and a stack none at all. */
const messageOf = (error: unknown): string => {
  if (error instanceof CommandFailed || error instanceof UsageError) return error.message
  return error instanceof Error ? error.message : String(error)
}

const version = (): string =>
  (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version
