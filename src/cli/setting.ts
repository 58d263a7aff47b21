import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Administration, createAdministration } from '../administration.ts'
import type { ServerContext } from '../authorization-server/context.ts'
import { countersign } from '../countersign.ts'
import type { AuditLog } from '../events/audit-log.ts'
import { jsonLine } from '../events/json-line.ts'
import { type Logger, silentLogger } from '../events/logger.ts'
import { minimumSecretLength } from '../keys/secret.ts'
import { resolveResources } from '../oauth/resource.ts'
import type { Options } from '../options.ts'
import { releaseMessage } from '../records/upstream-session.ts'
import { createAudit, createServerContext, endpointsBelow } from '../server-context.ts'
import type { Store } from '../store/store.ts'
import { CommandFailed, UsageError } from './usage.ts'

/** How a server is named on the command line. */
export interface SettingFlags {
  readonly config?: string | undefined
  readonly store?: string | undefined
  readonly 'secret-file'?: string | undefined
  readonly url?: string | undefined
  readonly audit?: string | undefined
}

/** The server that a command is about. Nothing is opened before it is asked for. */
export interface Setting {
  store(): Promise<Store>
  auditLog(): Promise<AuditLog>
  administration(): Promise<Administration>
  /** Seals the key ring for exactly the secrets that are configured. */
  reseal(): Promise<boolean>
  close(): Promise<void>
}

type Environment = Readonly<Record<string, string | undefined>>

/** What a JSON file may hold, besides the options that are data. */
type Settings = Partial<Omit<Options<unknown>, 'store' | 'audit'>> & {
  readonly store?: Store | string | undefined
  readonly audit?: Options<unknown>['audit'] | string | undefined
  /** They are the options of the server itself, which knows its providers. */
  readonly isServers?: boolean
}

/** @param mayMakeStore whether an SQLite file that is not there is made; else a wrong path would look like an empty store */
export const settingOf = (
  flags: SettingFlags,
  environment: Environment,
  { warn, mayMakeStore }: { readonly warn: (text: string) => void; readonly mayMakeStore: boolean },
): Setting => {
  const settings = once(() => read(flags, environment))
  const store = once(async () => openStore((await settings()).store, mayMakeStore))
  const logger: Logger = { ...silentLogger, warn: (message) => warn(message), error: (message) => warn(message) }
  const auditLog = once(async () => openAuditLog((await settings()).audit))
  const closing: (() => Promise<void>)[] = []

  const options = once(async (): Promise<Options<unknown>> => {
    const { store: _store, audit: _audit, isServers: _isServers, ...rest } = await settings()
    const opened = await store()
    const log = await auditLog()
    const audit = log ?? ((event: object) => warn(jsonLine(event)))
    return {
      url: 'http://localhost',
      resources: {},
      ...rest,
      ...(rest.secret === undefined ? { secret: secretBeside(opened) } : {}),
      ...{ store: opened, audit, logger },
    }
  })
  const context = once(async (): Promise<ServerContext> => {
    const given = await options()
    const audit = createAudit(given, logger)
    const described = Object.entries(given.resources).map(([path, { scopes }]) => [path, scopes ? { scopes } : {}])
    const resources = resolveResources(given.url, Object.fromEntries(described))
    const server = await createServerContext({
      ...{ options: given, resources, providers: [], configuredClients: new Map(), trusted: undefined },
      ...{ store: await store(), endpoints: endpointsBelow(given.url), role: 'administrator', logger, audit },
    })
    closing.push(async () => server.keys.close())
    // What must be done at providers is done by who knows them: a server that runs beside.
    const release = async (session: string) => {
      await server.records.store.commit({ notify: [releaseMessage + session] })
    }
    return { ...server, custody: { ...server.custody, release } }
  })

  return {
    store,
    async auditLog() {
      const log = await auditLog()
      if (!log) throw new UsageError('which audit log? Say --audit, COUNTERSIGN_AUDIT, or `audit` in the configuration')
      return log
    },
    async administration() {
      if (!(await settings()).isServers) return createAdministration(context)
      const auth = countersign(await options())
      closing.push(() => auth.close())
      await auth.ready()
      return auth
    },
    reseal: async () => (await context()).keys.sealAgain(),
    async close() {
      for (const close of closing) await close()
      const [opened, log] = [await store.made(), await auditLog.made()]
      await opened?.close()
      await log?.close()
    },
  }
}

const read = async (flags: SettingFlags, environment: Environment): Promise<Settings> => {
  const named = (flag: keyof SettingFlags) =>
    flags[flag] ?? environment[`COUNTERSIGN_${flag.toUpperCase().replaceAll('-', '_')}`]
  const file = named('config')
  const configured = file === undefined ? {} : await readConfig(file)
  const secret = readSecrets(flags['secret-file'], environment)
  const [store, url, audit] = [named('store'), named('url'), named('audit')]
  return {
    ...configured,
    ...(store === undefined ? {} : { store }),
    ...(url === undefined ? {} : { url }),
    ...(audit === undefined ? {} : { audit }),
    ...(secret === undefined ? {} : { secret }),
  }
}

const readConfig = async (file: string): Promise<Settings> => {
  const path = resolve(file)
  if (!existsSync(path)) throw new CommandFailed(`there is no configuration file ${path}`)
  if (path.endsWith('.json')) {
    try {
      return JSON.parse(readFileSync(path, 'utf8')) as Settings
    } catch {
      // What a parser says may quote a secret.
      throw new CommandFailed(`the configuration file ${path} is not JSON`)
    }
  }
  const module = (await import(pathToFileURL(path).href)) as { readonly default?: unknown; readonly options?: unknown }
  const found = module.default ?? module.options
  if (typeof found !== 'object' || found === null) {
    throw new CommandFailed(`${path} must export the options of countersign(), as its default or as \`options\``)
  }
  if ('respond' in found) {
    throw new CommandFailed(
      `${path} exports a server: export its options instead, so that its store can be opened here`,
    )
  }
  return { ...found, isServers: true }
}

type Secrets = readonly [string, ...string[]]

const readSecrets = (flag: string | undefined, environment: Environment): Secrets | undefined => {
  const file = flag ?? environment.COUNTERSIGN_SECRET_FILE
  const text = file === undefined ? environment.COUNTERSIGN_SECRET : readText(file)
  return text === undefined ? undefined : parseSecrets(text)
}

const parseSecrets = (text: string): Secrets => {
  const [first, ...others] = text
    .split('\n')
    .map((each) => each.trim())
    .filter((each) => each !== '')
  if (first === undefined || [first, ...others].some((each) => each.length < minimumSecretLength)) {
    throw new CommandFailed(`a secret has at least ${minimumSecretLength} characters; several are one a line`)
  }
  return [first, ...others]
}

const readText = (file: string): string => {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new CommandFailed(`the file ${file} can’t be read: ${(error as NodeJS.ErrnoException).code}`)
  }
}

/** As the server finds it; but nothing is made here. */
const secretBeside = ({ location }: Store): Secrets => {
  const file = location.kind === 'file' ? join(dirname(location.path), 'secret') : undefined
  if (file === undefined || !existsSync(file)) {
    throw new UsageError('which secret? Say COUNTERSIGN_SECRET, or a file of secrets by --secret-file')
  }
  return parseSecrets(readText(file))
}

const isPostgres = (text: string): boolean => /^postgres(ql)?:\/\//.test(text)

const openStore = async (given: Store | string | undefined, mayMake: boolean): Promise<Store> => {
  if (given === undefined)
    throw new UsageError('which store? Say --store, COUNTERSIGN_STORE, or `store` in the configuration')
  if (typeof given !== 'string') return given
  if (isPostgres(given)) return (await import('../store/postgres.ts')).postgres(given)
  if (/^rediss?:\/\//.test(given)) return (await import('../store/redis.ts')).redis(given)
  if (given.includes('://')) throw new UsageError('a store is the path of an SQLite file, postgres://… or redis://…')
  if (!mayMake && !existsSync(given)) throw new CommandFailed(`there is no file ${resolve(given)}`)
  return (await import('../store/sqlite.ts')).sqlite(given)
}

const openAuditLog = async (given: Settings['audit']): Promise<AuditLog | undefined> => {
  if (typeof given !== 'string') return [given ?? []].flat().find((sink): sink is AuditLog => typeof sink === 'object')
  if (isPostgres(given)) return (await import('../audit/postgres.ts')).postgresAudit(given)
  if (given.includes('://')) throw new UsageError('an audit log is the path of an SQLite file, or postgres://…')
  return (await import('../audit/sqlite.ts')).sqliteAudit(given)
}

const once = <T>(make: () => Promise<T>): (() => Promise<T>) & { made(): Promise<T | undefined> } => {
  let made: Promise<T> | undefined
  const get = () => {
    made ??= make()
    return made
  }
  return Object.assign(get, { made: async () => made?.catch(() => undefined) })
}
