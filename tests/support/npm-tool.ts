import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/countersign', import.meta.url))
const underWay = new Map<string, Promise<string>>()

/**
 * Installs a package beside the project, not in it: a tool that needs a newer Node than the project does, or that is used by one test.
 * Kept in `node_modules/.cache`. No install scripts are run.
 *
 * @param name the package's name
 * @param version an exact version or a major; name it always, or npm picks an older line that fits this Node
 * @returns the folder `node_modules` that has it
 */
export function npmTool(name: string, version: string): Promise<string> {
  const folder = join(CACHE, `${name.replaceAll('/', '+')}@${version}`)
  const known = underWay.get(folder) ?? install(folder, `${name}@${version}`)
  underWay.set(folder, known)
  return known
}

async function install(folder: string, spec: string): Promise<string> {
  const modules = join(folder, 'node_modules')
  if (existsSync(modules)) return modules
  mkdirSync(CACHE, { recursive: true })
  const fresh = mkdtempSync(`${folder}-`)
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock', '--no-save']
  await run('npm', ['install', '--prefix', fresh, ...flags, spec], { cwd: fresh, maxBuffer: 1 << 26 })
  try {
    renameSync(fresh, folder)
  } catch (error) {
    // Another process was first; its copy is as good as this one.
    rmSync(fresh, { recursive: true, force: true })
    if (!existsSync(modules)) throw error
  }
  return modules
}
