import { execFile } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { canInstallPackages, installPackages } from './apt.ts'
import { freePort } from './free-port.ts'
import { startProcess } from './process.ts'
import { type Unavailable, unavailable } from './unavailable.ts'

const run = promisify(execFile)

export interface PgBouncer {
  /** The same database, through the pooler. */
  readonly url: string
  stop(): Promise<void>
}

/**
 * PgBouncer in front of the server of `url`; as its package sets it up, with nothing ignored. In transaction mode it has two connections; in session
 * mode each client needs one of its own.
 */
export async function startPgBouncer(
  url: string,
  mode: 'session' | 'transaction' = 'transaction',
): Promise<PgBouncer | Unavailable> {
  const program = '/usr/sbin/pgbouncer'
  if (!existsSync(program)) {
    if (!canInstallPackages()) return unavailable('no pgbouncer on this machine')
    await installPackages('pgbouncer')
  }
  const { username, password, hostname, port: serverPort, pathname } = new URL(url)
  const directory = mkdtempSync(join(tmpdir(), 'countersign-pgbouncer-'))
  const port = await freePort()
  const file = join(directory, 'pgbouncer.ini')
  const users = join(directory, 'users')
  writeFileSync(users, `"${username}" "${password}"\n`, { mode: 0o600 })
  writeFileSync(
    file,
    [
      '[databases]',
      `${pathname.slice(1)} = host=${hostname} port=${serverPort}`,
      '[pgbouncer]',
      'listen_addr = 127.0.0.1',
      `listen_port = ${port}`,
      'unix_socket_dir =',
      'auth_type = scram-sha-256',
      `auth_file = ${users}`,
      `pool_mode = ${mode}`,
      `default_pool_size = ${mode === 'session' ? 60 : 2}`,
      '',
    ].join('\n'),
    { mode: 0o600 },
  )
  // It does not run as root.
  const as = process.getuid?.() === 0 ? await owner() : undefined
  if (as) for (const path of [directory, file, users]) chownSync(path, as.uid, as.gid)
  const bouncer = startProcess(program, [...(as ? ['-u', as.name] : []), file])
  const pooled = new URL(url)
  pooled.port = String(port)
  const stop = async () => {
    await bouncer.stop(2_000)
    rmSync(directory, { recursive: true, force: true })
  }
  for (let waited = 0; !(await answers(pooled.href)); waited += 50) {
    if (waited > 20_000) {
      await stop()
      throw new Error(`pgbouncer did not start\n${bouncer.stdout}${bouncer.stderr}`)
    }
    await delay(50)
  }
  return { url: pooled.href, stop }
}

async function owner(): Promise<{ name: string; uid: number; gid: number }> {
  const [uid, gid] = await Promise.all([run('id', ['-u', 'nobody']), run('id', ['-g', 'nobody'])])
  return { name: 'nobody', uid: Number(uid.stdout), gid: Number(gid.stdout) }
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query('SELECT 1')
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => {})
  }
}
