import { readdirSync, readFileSync } from 'node:fs'
import pg from 'pg'
import { startOwnPostgres } from '../../tests/support/postgres.ts'
import { startRedis } from '../../tests/support/redis.ts'

/** A store's engine in processes of its own. */
export interface Engine {
  readonly url: string
  readonly version: string
  /** CPU that it has used so far, in microseconds. */
  cpu(): Promise<number>
  stop(): Promise<void>
}

export type EngineName = 'postgres' | 'redis'

const engines = new Map<EngineName, Promise<Engine>>()

/** Started once a run. Both keep on the disk what they have answered, as in production. */
export function engine(name: EngineName): Promise<Engine> {
  const known = engines.get(name)
  if (known) return known
  const started = name === 'postgres' ? postgres() : redis()
  engines.set(name, started)
  return started
}

export async function stopEngines(): Promise<void> {
  await Promise.all([...engines.values()].map(async (started) => (await started).stop()))
}

async function postgres(): Promise<Engine> {
  const server = await startOwnPostgres({ syncs: true })
  if ('skip' in server) throw new Error(server.skip)
  const client = new pg.Client({ connectionString: server.url })
  await client.connect()
  const { rows } = await client.query('SHOW server_version')
  const { rows: where } = await client.query('SHOW data_directory')
  const [pid = ''] = readFileSync(`${where[0].data_directory}/postmaster.pid`, 'utf8').split('\n')
  await client.end()
  return {
    url: server.url,
    version: `PostgreSQL ${rows[0].server_version}`,
    cpu: async () => cpuOfFamily(pid),
    stop: () => server.stop(),
  }
}

async function redis(): Promise<Engine> {
  const server = await startRedis()
  if ('skip' in server) throw new Error(server.skip)
  const info = async (section: string) => String(await server.command('INFO', section))
  const field = (text: string, name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(text)?.[1] ?? ''
  const version = field(await info('server'), 'redis_version')
  return {
    url: server.url,
    version: `Redis ${version}`,
    async cpu() {
      const used = await info('cpu')
      return 1e6 * (Number(field(used, 'used_cpu_user')) + Number(field(used, 'used_cpu_sys')))
    },
    stop: () => server.stop(),
  }
}

/** Of a process, its children, and those of them that have ended, in microseconds: the kernel counts in hundredths of a second. */
function cpuOfFamily(parent: string): number {
  let ticks = 0
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
      // After the name, which may have spaces: state, parent, …; user and system time are the 12th and 13th, of ended children the next two.
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
      if (pid !== parent && fields[1] !== parent) continue
      const own = Number(fields[11]) + Number(fields[12])
      ticks += pid === parent ? own + Number(fields[13]) + Number(fields[14]) : own
    } catch {
      // It ended meanwhile.
    }
  }
  return ticks * 10_000
}
