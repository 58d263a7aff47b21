import { ConfigurationError } from './oauth/configuration-error.ts'

/** What each must be able to do, and what it is; a list where there may be several. */
const expected = {
  store: { functions: ['get', 'list', 'commit', 'increment', 'watch', 'close'], what: 'a store, such as sqlite(path)' },
  logger: { functions: ['debug', 'info', 'warn', 'error'], what: 'a logger, such as console' },
  telemetry: { functions: ['observe', 'event'], what: 'prometheus(), openTelemetry() or your own, or a list' },
  audit: { functions: ['record', 'close'], what: 'a function, a log such as sqliteAudit(path), or a list' },
  clock: { functions: ['now'], what: 'an object with now()' },
  random: { functions: ['bytes'], what: 'an object with bytes()' },
  fetch: { functions: [], what: 'a function like fetch' },
} as const

/** They may be a function. */
const callable: readonly string[] = ['audit', 'fetch']
const several: readonly string[] = ['audit', 'telemetry']

/**
 * Types don't reach what was written in JavaScript, and what is no store is found out only when it is asked.
 * @throws ConfigurationError
 */
export const checkInstances = (options: object): void => {
  for (const [name, { functions, what }] of Object.entries(expected)) {
    const given: unknown = (options as Readonly<Record<string, unknown>>)[name]
    if (given === undefined) continue
    const all: readonly unknown[] = several.includes(name) && Array.isArray(given) ? given : [given]
    const isOne = (each: unknown): boolean =>
      (callable.includes(name) && typeof each === 'function') || (functions.length > 0 && can(each, functions))
    if (!all.every(isOne)) throw new ConfigurationError(name, what)
  }
}

const can = (value: unknown, functions: readonly string[]): boolean =>
  typeof value === 'object' &&
  value !== null &&
  functions.every((name) => typeof (value as Readonly<Record<string, unknown>>)[name] === 'function')
