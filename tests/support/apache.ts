import { accessSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { canInstallPackages, installPackages } from './apt.ts'
import { freePort } from './free-port.ts'
import { startProcess } from './process.ts'
import { type Unavailable, unavailable } from './unavailable.ts'

const modules = '/usr/lib/apache2/modules'
const program = '/usr/sbin/apache2'

const isThere = (): boolean => {
  try {
    for (const file of [program, join(modules, 'mod_oauth2.so')]) accessSync(file)
    return true
  } catch {
    return false
  }
}

/** Apache with `mod_oauth2`. On Debian, as root, it is installed where it is missing. */
export const findApache = async (): Promise<{ readonly program: string } | Unavailable> => {
  if (isThere()) return { program }
  if (!canInstallPackages()) return unavailable('no Apache with mod_oauth2 here: install libapache2-mod-oauth2')
  await installPackages('apache2', 'libapache2-mod-oauth2')
  return isThere() ? { program } : unavailable('libapache2-mod-oauth2 brought no mod_oauth2')
}

/** Starts Apache in this folder, in front of nothing: `site` says what it serves. */
export const startApache = async (folder: string, site: string) => {
  const port = await freePort()
  mkdirSync(join(folder, 'www'), { recursive: true })
  writeFileSync(join(folder, 'www', 'index.html'), 'inside')
  const load = (name: string, file = `mod_${name}`) => `LoadModule ${name}_module ${modules}/${file}.so`
  const configuration = [
    ...['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'headers', 'dir', 'oauth2'].map((name) => load(name)),
    `ServerRoot ${folder}`,
    `Listen 127.0.0.1:${port}`,
    'ServerName localhost',
    `PidFile ${join(folder, 'pid')}`,
    `ErrorLog ${join(folder, 'errors')}`,
    'LogLevel warn',
    // Started by root it must be somebody else; otherwise these say nothing.
    ...(process.getuid?.() === 0 ? ['User www-data', 'Group www-data'] : []),
    `DocumentRoot ${join(folder, 'www')}`,
    site,
  ]
  const file = join(folder, 'apache.conf')
  writeFileSync(file, `${configuration.join('\n')}\n`)
  const log = () => readFileSync(join(folder, 'errors'), 'utf8')
  const child = startProcess(program, ['-f', file, '-DFOREGROUND'])
  const origin = `http://127.0.0.1:${port}`
  for (let attempt = 0; ; attempt++) {
    const answers = await fetch(origin).then(
      () => true,
      () => false,
    )
    if (answers) break
    if (attempt === 200) throw new Error(`Apache does not answer: ${child.stderr} ${log()}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return { origin, log, stop: () => child.stop() }
}
