/**
 * Global set-up of the test run in CI: all Debian packages that any test needs, at once and before the first. Otherwise tests would wait for
 * one another's installations, and each has a time limit. What fails here is tried again, and said, by the test that needs it.
 */
import { spawnSync } from 'node:child_process'
import { canInstallPackages, installPackages } from './apt.ts'

const packages = [
  'apache2',
  'chromium',
  'libapache2-mod-oauth2',
  'nginx-light',
  'pgbouncer',
  'postgresql',
  'python3-cryptography',
  'python3-django-oauth-toolkit',
  'python3-jwt',
  'python3-venv',
  'redis-server',
]

export async function setup(): Promise<void> {
  if (process.env.CI !== 'true' || !canInstallPackages()) return
  const missing = packages.filter((name) => !isInstalled(name))
  if (missing.length > 0) await installPackages(...missing).catch(() => {})
}

const isInstalled = (name: string): boolean =>
  spawnSync('dpkg-query', ['-W', '-f', `\${db:Status-Abbrev}`, name], { encoding: 'utf8' }).stdout.startsWith('ii')
