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

/** As in its configuration file; a list is several lines. */
export type Settings = Readonly<Record<string, string | number | readonly string[]>>

/**
 * A server of Redis 7 or newer (or Valkey) of its own, on a free loopback port, for tests: the machine's own, or Debian's package
 * installed where that is possible. It has a password, and keeps each write on its disk before it answers.
 */
export async function startRedis(settings: Settings = {}): Promise<RedisServer | Unavailable> {
  const program = await findOrInstall()
  return typeof program === 'string' ? startServer(program, settings) : program
}

/** A cluster of three masters, each with a third of the slots; with a replica for each master where that is wanted: `servers` are the masters. */
export async function startRedisCluster({
  replicas = false,
} = {}): Promise<
  | { readonly servers: readonly RedisServer[]; readonly replicas: readonly RedisServer[]; stop(): Promise<void> }
  | Unavailable
> {
  const program = await findOrInstall()
  if (typeof program !== 'string') return program
  const password = randomBytes(12).toString('hex')
  const startNode = async () => {
    const bus = await freePort()
    const settings = { 'cluster-enabled': 'yes', 'cluster-port': bus, 'cluster-node-timeout': 5_000, password }
    return { bus, server: await startServer(program, settings) }
  }
  const parts = [0, 5461, 10923, 16384]
  const nodes = await Promise.all(parts.slice(1).map(startNode))
  const spare = replicas ? await Promise.all(nodes.map(startNode)) : []
  const everyone = [...nodes, ...spare].map(({ server }) => server)
  const servers = nodes.map(({ server }) => server)
  const [first] = servers
  await Promise.all(
    servers.map((server, i) => server.command('CLUSTER', 'ADDSLOTSRANGE', parts[i] ?? 0, (parts[i + 1] ?? 0) - 1)),
  )
  for (const { server, bus } of [...nodes.slice(1), ...spare]) {
    await first?.command('CLUSTER', 'MEET', '127.0.0.1', server.port, bus)
  }
  const together = async ({ command }: RedisServer) => {
    const info = String(await command('CLUSTER', 'INFO'))
    return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${everyone.length}\r`)
  }
  const all = async () => (await Promise.all(everyone.map(together))).every(Boolean)
  await until(all, 'the cluster did not come together')
  for (const [i, { server }] of spare.entries()) {
    const master = String(await servers[i]?.command('CLUSTER', 'MYID'))
    // A node that has not heard of the master yet refuses.
    const replicates = async () => (await server.command('CLUSTER', 'REPLICATE', master)) === 'OK'
    await until(replicates, 'a replica did not find its master')
    const linked = async () => String(await server.command('INFO', 'replication')).includes('master_link_status:up')
    await until(linked, 'a replica did not begin')
  }
  const stop = async () => {
    await Promise.all(everyone.map((server) => server.stop()))
  }
  return { servers, replicas: spare.map(({ server }) => server), stop }
}

/** A master, its replica, and one Sentinel that watches them. */
export async function startRedisSentinel() {
  const program = await findOrInstall()
  if (typeof program !== 'string') return program
  const password = randomBytes(12).toString('hex')
  const name = 'countersign'
  const master = await startServer(program, { password })
  const replica = await startServer(program, { password, replicaof: `127.0.0.1 ${master.port}` })
  const linked = async () => String(await replica.command('INFO', 'replication')).includes('master_link_status:up')
  await until(linked, 'the replica did not find its master')
  const sentinel = await startServer(program, {
    password: '',
    sentinel: [
      `monitor ${name} 127.0.0.1 ${master.port} 1`,
      `auth-pass ${name} ${password}`,
      `down-after-milliseconds ${name} 2000`,
    ],
  })
  const replicas = async () => String(await sentinel.command('SENTINEL', 'REPLICAS', name)).includes(`${replica.port}`)
  await until(replicas, 'Sentinel did not find the replica')
  return {
    sentinelPort: sentinel.port,
    name,
    password,
    /** The replica becomes the master, and the master its replica. */
    async failover(): Promise<void> {
      await sentinel.command('SENTINEL', 'FAILOVER', name)
      const is = async (server: RedisServer, role: string) => String(await server.command('ROLE')).startsWith(role)
      // Until the master has heard of it, it goes on answering, and what it then answers is lost.
      const done = async () => (await is(replica, 'master')) && (await is(master, 'slave'))
      await until(done, 'there was no failover')
    },
    /** The master dies (SIGKILL), and Sentinel finds it out by itself: the replica becomes the master. It has all that was written before. */
    async crash(): Promise<void> {
      await until(() => hasAll(master, replica), 'the replica did not follow')
      await master.kill()
      const done = async () => String(await replica.command('ROLE')).startsWith('master')
      await until(done, 'the dead master had no successor')
    },
    /** After the failover: the field of a hash. */
    masterHas: async (key: string, field: string) => String(await replica.command('HGET', key, field)),
    async stop() {
      await Promise.all([sentinel, replica, master].map((server) => server.stop()))
    },
  }
}

/** Whether a replica has all that its master was told by now. */
export async function hasAll(master: RedisServer, replica: RedisServer): Promise<boolean> {
  const offset = async ({ command }: RedisServer, name: string) =>
    Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(String(await command('INFO', 'replication')))?.[1])
  const told = await offset(master, 'master_repl_offset')
  return (await offset(replica, 'slave_repl_offset')) >= told
}

/** A question that gets no answer counts as a no: Sentinel ends all connections of a server that becomes another's replica. */
async function until(holds: () => Promise<boolean>, otherwise: string): Promise<void> {
  for (let waited = 0; !(await holds().catch(() => false)); waited += 100) {
    if (waited > 45_000) throw new Error(`Redis for the tests: ${otherwise}`)
    await delay(100)
  }
}

async function startServer(
  program: string,
  { password = randomBytes(12).toString('hex'), ...settings }: Omit<Settings, 'password'> & { password?: string },
): Promise<RedisServer> {
  const directory = temporaryDirectory()
  const port = await freePort()
  const dir = join(directory.path, 'data')
  const data = {
    requirepass: password,
    masterauth: password,
    appendonly: 'yes',
    appendfsync: 'always',
    save: '""',
  }
  const sentinel = 'sentinel' in settings
  const all = { port, bind: '127.0.0.1', dir, ...(!sentinel && data), ...settings }
  mkdirSync(dir)
  const file = join(directory.path, 'redis.conf')
  const lines = Object.entries(all).flatMap(([name, value]) => [value].flat().map((each) => `${name} ${each}\n`))
  writeFileSync(file, lines.join(''), { mode: 0o600 })
  let running: RunningProcess

  async function command(name: string, ...values: (string | number)[]): Promise<unknown> {
    const client = new Client({
      port,
      host: '127.0.0.1',
      ...(password && { password }),
      lazyConnect: true,
      retryStrategy: null,
    })
    client.on('error', () => {})
    try {
      return await client.call(name, values)
    } finally {
      client.disconnect()
    }
  }

  async function start(): Promise<void> {
    running = startProcess(program, [file, ...(sentinel ? ['--sentinel'] : [])])
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
