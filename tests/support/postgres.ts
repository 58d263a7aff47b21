import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import {
  accessSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { canInstallPackages, installPackages } from './apt.ts'
import { freePort } from './free-port.ts'
import { type Unavailable, unavailable } from './unavailable.ts'

const run = promisify(execFile)

export interface Postgres {
  /** Of an empty database of its own, for a superuser; its collation is a dictionary's, not bytewise. */
  readonly url: string
  /** Ends what this call started. A server shared by a test run goes on until the run ends. */
  stop(): Promise<void>
}

interface Server {
  readonly url: string
  readonly pid: number
}

/** Set by `postgres.setup.ts` for a test run: where its one server is kept. */
export const SHARED_DIRECTORY = 'COUNTERSIGN_TEST_POSTGRES'

/**
 * A PostgreSQL server on a free loopback port, for tests: the machine's own, or Debian's package installed where that is possible.
 * In a test run the first call starts it and all share it, each with a database of its own. It doesn't sync to the disk.
 */
export async function startPostgres(): Promise<Postgres | Unavailable> {
  const binaries = await findOrInstall()
  if (typeof binaries !== 'string') return binaries
  const shared = process.env[SHARED_DIRECTORY]
  if (shared !== undefined) {
    const { url } = await sharedServer(shared, binaries)
    return { url: await newDatabase(url), stop: async () => {} }
  }
  const directory = mkdtempSync(join(tmpdir(), 'countersign-postgres-'))
  const server = await startServer(directory, binaries)
  return { url: await newDatabase(server.url), stop: () => stopServer(directory, server.pid) }
}

/**
 * A server of its own that can be killed, and started again on what it has on its disk. It ends with this process, at the latest.
 *
 * @param options.syncs to the disk, as in production; for measurements
 */
export async function startOwnPostgres({ syncs = false }: { readonly syncs?: boolean } = {}) {
  const binaries = await findOrInstall()
  if (typeof binaries !== 'string') return binaries
  const directory = mkdtempSync(join(tmpdir(), 'countersign-postgres-'))
  let server = await startServer(directory, binaries, syncs)
  const end = () => {
    for (const pid of [...childrenOf(server.pid), server.pid]) send(pid, 'SIGKILL')
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
  process.once('exit', end)
  return {
    url: await newDatabase(server.url),
    /** SIGKILL of all its processes. */
    async kill(): Promise<void> {
      for (const pid of [server.pid, ...childrenOf(server.pid)]) send(pid, 'SIGKILL')
      for (let waited = 0; waited < 60_000 && send(server.pid, 0); waited += 20) await delay(20)
    },
    async start(): Promise<void> {
      server = await launch(directory, binaries, server.url, syncs)
    },
    stop() {
      process.removeListener('exit', end)
      return stopServer(directory, server.pid)
    },
  }
}

/** Where a program of PostgreSQL's own is, beside its server: `pg_dump`, for instance. */
export async function postgresProgram(name: string): Promise<string> {
  const binaries = await findOrInstall()
  if (typeof binaries !== 'string') throw new Error(binaries.skip)
  return join(binaries, name)
}

/** Stops the server of a test run, if one was started. */
export async function stopShared(directory: string): Promise<void> {
  const server = readServer(directory)
  if (server === undefined) rmSync(directory, { recursive: true, force: true })
  else await stopServer(directory, server.pid)
}

/** Whoever makes the lock directory starts the server; the others wait for what comes of it. */
async function sharedServer(directory: string, binaries: string): Promise<Server> {
  try {
    mkdirSync(join(directory, 'starting'))
  } catch {
    for (let waited = 0; waited < 60_000; waited += 50) {
      const server = readServer(directory)
      if (server !== undefined) return server
      if (existsSync(join(directory, 'failed'))) throw new Error(readFileSync(join(directory, 'failed'), 'utf8'))
      await delay(50)
    }
    throw new Error('the shared PostgreSQL did not start within 60 s')
  }
  try {
    return await startServer(directory, binaries)
  } catch (error) {
    writeFileSync(join(directory, 'failed'), String(error))
    throw error
  }
}

function readServer(directory: string): Server | undefined {
  const path = join(directory, 'server.json')
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Server) : undefined
}

async function startServer(directory: string, binaries: string, syncs = false): Promise<Server> {
  const data = join(directory, 'data')
  const password = randomBytes(12).toString('hex')
  const passwordFile = join(directory, 'password')
  writeFileSync(passwordFile, password, { mode: 0o600 })
  // PostgreSQL does not run as root.
  const owner = await unprivileged()
  if (owner !== undefined) for (const path of [directory, passwordFile]) chownSync(path, owner.uid, owner.gid)
  const log = openSync(join(directory, 'log'), 'a')
  const options = { ...owner, cwd: directory, stdio: ['ignore', log, log] as ['ignore', number, number] }
  const init = (...more: string[]) => {
    const auth = ['--auth=scram-sha-256', `--pwfile=${passwordFile}`]
    return ended(
      spawn(join(binaries, 'initdb'), ['-D', data, '-U', 'postgres', '-E', 'UTF8', '-N', ...auth, ...more], options),
    )
  }
  // A locale in which bytewise order is not the default, where the server has one.
  if ((await init('--locale-provider=icu', '--icu-locale=en-US', '--locale=C')) !== 0) {
    rmSync(data, { recursive: true, force: true })
    if ((await init('--locale=C.UTF-8')) !== 0) throw failure(directory, 'initdb failed')
  }
  const port = await freePort()
  return launch(directory, binaries, `postgres://postgres:${password}@127.0.0.1:${port}/postgres`, syncs)
}

/** Starts the server on its data, with a superuser's address that says on which port. */
async function launch(directory: string, binaries: string, url: string, syncs: boolean): Promise<Server> {
  const owner = await unprivileged()
  const log = openSync(join(directory, 'log'), 'a')
  const options = { ...owner, cwd: directory, stdio: ['ignore', log, log] as ['ignore', number, number] }
  const settings = {
    port: new URL(url).port,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: 200,
    ...(syncs ? {} : { fsync: 'off', full_page_writes: 'off' }),
  }
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const begin = () => {
    const state = { exited: false, pid: 0 }
    const child = spawn(join(binaries, 'postgres'), ['-D', join(directory, 'data'), ...flags], {
      ...options,
      detached: true,
    })
    child.unref()
    child.once('exit', () => {
      state.exited = true
    })
    state.pid = child.pid ?? 0
    return state
  }
  let started = begin()
  for (let waited = 0; !(await answers(url)); waited += 50) {
    if (waited > 60_000) throw failure(directory, 'the server did not start')
    if (started.exited) {
      const failed = failure(directory, 'the server did not start')
      // On a busy machine those that served a killed one may still be on their way out.
      if (!failed.message.slice(-600).includes('is still in use')) throw failed
      started = begin()
    }
    await delay(50)
  }
  closeSync(log)
  const server = { url, pid: started.pid }
  writeFileSync(join(directory, 'server.json.new'), JSON.stringify(server), { mode: 0o600 })
  renameSync(join(directory, 'server.json.new'), join(directory, 'server.json'))
  return server
}

async function stopServer(directory: string, pid: number): Promise<void> {
  // Fast shutdown; an immediate one if that takes too long.
  for (const [signal, wait] of [
    ['SIGINT', 15_000],
    ['SIGQUIT', 5_000],
  ] as const) {
    if (!send(pid, signal)) break
    for (let waited = 0; waited < wait && send(pid, 0); waited += 50) await delay(50)
  }
  rmSync(directory, { recursive: true, force: true })
}

/** Of a server: each is the leader of a group of its own. */
function childrenOf(parent: number): readonly number[] {
  if (!existsSync('/proc/self/stat')) return []
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
        // After the name, which may have spaces: state, parent.
        return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]) === parent
      } catch {
        // It ended meanwhile.
        return false
      }
    })
}

function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

function failure(directory: string, what: string): Error {
  return new Error(`PostgreSQL for the tests: ${what}\n${readFileSync(join(directory, 'log'), 'utf8').slice(-4000)}`)
}

async function newDatabase(url: string): Promise<string> {
  const name = `test_${randomUUID().replaceAll('-', '')}`
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(`CREATE DATABASE ${name}`)
  await client.end()
  const own = new URL(url)
  own.pathname = `/${name}`
  return own.href
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.end()
    return true
  } catch {
    return false
  }
}

async function findOrInstall(): Promise<string | Unavailable> {
  const found = await findBinaries()
  if (found !== undefined) return found
  if (!canInstallPackages())
    return unavailable('no PostgreSQL server on this machine (initdb and postgres were looked for)')
  await installPackages('postgresql')
  return (await findBinaries()) ?? unavailable('the package postgresql brought no server')
}

async function findBinaries(): Promise<string | undefined> {
  const debian = '/usr/lib/postgresql'
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : []
  const configured = await run('pg_config', ['--bindir']).then(
    ({ stdout }) => [stdout.trim()],
    () => [],
  )
  const candidates = [
    ...versions.map((version) => join(debian, version, 'bin')),
    ...configured,
    ...(process.env.PATH ?? '').split(delimiter),
  ]
  return candidates.find(
    (directory) => directory !== '' && ['initdb', 'postgres'].every((name) => executable(join(directory, name))),
  )
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

async function unprivileged(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined
  for (const user of ['postgres', 'nobody']) {
    const ids = await Promise.all([run('id', ['-u', user]), run('id', ['-g', user])]).catch(() => undefined)
    if (ids !== undefined) return { uid: Number(ids[0].stdout), gid: Number(ids[1].stdout) }
  }
  throw new Error('PostgreSQL does not run as root, and there is no user "postgres" or "nobody"')
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', resolve)
  })
}
