import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { canInstallPackages, installPackages } from './apt.ts'
import { startProcess } from './process.ts'
import { temporaryDirectory } from './temporary-directory.ts'
import { type Unavailable, unavailable } from './unavailable.ts'

export interface Nginx {
  readonly port: number
  stop(): Promise<void>
}

/** nginx with a configuration of the repository, in which texts are replaced; it runs in the foreground, in a folder of its own. */
export async function startNginx(
  configuration: string,
  port: number,
  replaced: Readonly<Record<string, string>>,
): Promise<Nginx | Unavailable> {
  const program = '/usr/sbin/nginx'
  if (!existsSync(program)) {
    if (!canInstallPackages()) return unavailable('no nginx on this machine')
    await installPackages('nginx-light')
  }
  const folder = temporaryDirectory()
  let text = readFileSync(configuration, 'utf8')
  for (const [before, after] of Object.entries(replaced)) {
    if (!text.includes(before)) throw new Error(`${configuration} has no "${before}"`)
    text = text.replaceAll(before, after)
  }
  mkdirSync(join(folder.path, 'temporary'))
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${join(folder.path, 'temporary', name)};`,
  )
  const file = join(folder.path, 'nginx.conf')
  writeFileSync(file, text.replace('http {', `http {\n${paths.join('\n')}\naccess_log off;`))
  const directives = `daemon off; pid ${join(folder.path, 'pid')}; error_log stderr;`
  const server = startProcess(program, ['-p', folder.path, '-c', file, '-g', directives])
  const stop = async () => {
    await server.stop(3_000)
    folder.remove()
  }
  let end: unknown
  void server.ended.then((ended) => {
    end = ended
  })
  for (let waited = 0; ; waited += 50) {
    if (
      await fetch(`http://127.0.0.1:${port}/healthz`).then(
        () => true,
        () => false,
      )
    )
      return { port, stop }
    if (end !== undefined || waited > 15_000) {
      await stop()
      throw new Error(`nginx did not start\n${server.stderr}`)
    }
    await delay(50)
  }
}
