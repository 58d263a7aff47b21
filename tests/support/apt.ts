import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Debian packages can be installed here: a Debian machine, and root. */
export function canInstallPackages(): boolean {
  try {
    accessSync('/etc/debian_version')
    accessSync('/usr/bin/apt-get', constants.X_OK)
  } catch {
    return false
  }
  return process.getuid?.() === 0
}

/**
 * Installs Debian packages, one installation at a time across processes (apt has a lock of its own, but fails instead of waiting).
 *
 * @throws {Error} with apt's own words.
 */
export async function installPackages(...packages: readonly string[]): Promise<void> {
  const script = 'apt-get update -q && apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"'
  const lock = join(tmpdir(), 'countersign-tests-apt.lock')
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  await run('flock', [lock, 'sh', '-c', script, 'sh', ...packages], { env: environment, maxBuffer: 1 << 26 })
}
