/** A disk of its own for a test, where it may be mounted: as root on Linux. */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'

const TOOLS = { mount: 'mount', unmount: 'umount' } as const
const mounted = new Set<string>()

/** Makes `directory` a disk in memory; answers false where that is not allowed. */
export function mountDisk(directory: string, size = '8m'): boolean {
  mkdirSync(directory, { recursive: true })
  try {
    execFileSync(TOOLS.mount, ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', directory], { stdio: 'ignore' })
  } catch {
    return false
  }
  mounted.add(directory)
  return true
}

export function makeReadOnly(directory: string): void {
  execFileSync(TOOLS.mount, ['-o', 'remount,ro', directory])
}

/** For after the tests. Lazily, because libsql lets go of a file only when its statements are collected. */
export function unmountAll(): void {
  for (const directory of mounted) execFileSync(TOOLS.unmount, ['-l', directory])
  mounted.clear()
}
