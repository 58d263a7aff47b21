import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Redis as Client } from 'ioredis'
import { canInstallPackages, installPackages } from './apt.ts'
import { freePort } from './free-port.ts'
import { type RunningProcess, startProcess } from './process.ts'
import { temporaryDirectory } from './temporary-directory.ts'
import { type Unavailable, unavailable } from './unavailable.ts'

const run = promisify(execFile)

export interface RedisServer {
  /** With its password. */
  readonly url: string
  readonly port: number
  readonly password: string
  /** Runs one command, on a connection of its own. */
  command(name: string, ...values: (string | number)[]): Promise<unknown>
  /** SIGSTOP holds it up, SIGCONT lets it go on. */
  signal(signal: NodeJS.Signals): void
  /** SIGKILL, and waits for its end. */
  kill(): Promise<void>
  /** Again, on the same port and with what it has on its disk. */
  start(): Promise<void>
  /** Ends it and removes its data. */
  stop(): Promise<void>
}

export type Settings = Readonly<Record<string, string | number>>

/**
 * A server of Redis 7 or newer (or Valkey) of its own, on a free loopback port, for tests: the machine's own, or Debian's package
 * installed where that is possible. It has a password, and keeps each write on its disk before it answers.
 */
export async function startRedis(settings: Settings = {}): Promise<RedisServer | Unavailable> {
  const program = await findOrInstall()
  return typeof program === 'string' ? startServer(program, settings) : program
}

/** A cluster of three masters, each with a third of the slots. */
export async function startRedisCluster(): Promise<
  { readonly servers: readonly RedisServer[]; stop(): Promise<void> } | Unavailable
> {
  const program = await findOrInstall()
  if (typeof program !== 'string') return program
  const password = randomBytes(12).toString('hex')
  const parts = [0, 5461, 10923, 16384]
  const nodes = await Promise.all(
    parts.slice(1).map(async () => {
      const bus = await freePort()
      const settings = { 'cluster-enabled': 'yes', 'cluster-port': bus, 'cluster-node-timeout': 5_000, password }
      return { bus, server: await startServer(program, settings) }
    }),
  )
  const servers = nodes.map(({ server }) => server)
  const [first] = servers
  await Promise.all(
    servers.map((server, i) => server.command('CLUSTER', 'ADDSLOTSRANGE', parts[i] ?? 0, (parts[i + 1] ?? 0) - 1)),
  )
  for (const { server, bus } of nodes.slice(1)) await first?.command('CLUSTER', 'MEET', '127.0.0.1', server.port, bus)
  const together = async ({ command }: RedisServer) => {
    const info = String(await command('CLUSTER', 'INFO'))
    return info.includes('cluster_state:ok') && info.includes('cluster_known_nodes:3')
  }
  for (let waited = 0; !(await Promise.all(servers.map(together))).every(Boolean); waited += 100) {
    if (waited > 30_000) throw new Error('Redis for the tests: the cluster did not come together')
    await delay(100)
  }
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop()))
  }
  return { servers, stop }
}

async function startServer(program: string, { password: given, ...settings }: Settings): Promise<RedisServer> {
  const directory = temporaryDirectory()
  const port = await freePort()
  const password = String(given ?? randomBytes(12).toString('hex'))
  const all = {
    port,
    bind: '127.0.0.1',
    dir: join(directory.path, 'data'),
    requirepass: password,
    masterauth: password,
    appendonly: 'yes',
    appendfsync: 'always',
    save: '""',
    ...settings,
  }
  mkdirSync(all.dir)
  const file = join(directory.path, 'redis.conf')
  const lines = Object.entries(all).map(([name, value]) => `${name} ${value}\n`)
  writeFileSync(file, lines.join(''), { mode: 0o600 })
  let running: RunningProcess

  async function command(name: string, ...values: (string | number)[]): Promise<unknown> {
    const client = new Client({ port, host: '127.0.0.1', password, lazyConnect: true, retryStrategy: null })
    client.on('error', () => {})
    try {
      return await client.call(name, values)
    } finally {
      client.disconnect()
    }
  }

  async function start(): Promise<void> {
    running = startProcess(program, [file])
    let end: unknown
    void running.ended.then((ended) => {
      end = ended
    })
    for (let waited = 0; (await command('PING').catch(() => undefined)) !== 'PONG'; waited += 20) {
      if (end !== undefined || waited > 30_000) {
        await running.stop(0)
        throw new Error(`Redis for the tests did not start\n${running.stdout}${running.stderr}`)
      }
      await delay(20)
    }
  }

  await start()
  return {
    url: `redis://:${password}@127.0.0.1:${port}`,
    port,
    password,
    command,
    signal: (signal) => running.signal(signal),
    async kill() {
      running.signal('SIGKILL')
      await running.ended
    },
    start,
    async stop() {
      running.signal('SIGCONT')
      await running.stop(5_000)
      directory.remove()
    },
  }
}

async function findOrInstall(): Promise<string | Unavailable> {
  const found = await findProgram()
  if (found !== undefined) return found
  if (!canInstallPackages()) {
    return unavailable('no Redis 7 on this machine (redis-server and valkey-server were looked for)')
  }
  await installPackages('redis-server')
  return (await findProgram()) ?? unavailable('the package redis-server brought no Redis 7')
}

async function findProgram(): Promise<string | undefined> {
  for (const program of ['redis-server', 'valkey-server']) {
    const version = await run(program, ['--version']).then(
      ({ stdout }) => Number(/ v=(\d+)/.exec(stdout)?.[1]),
      () => 0,
    )
    if (version >= 7) return program
  }
  return undefined
}
