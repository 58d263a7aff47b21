import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const folders: string[] = []
process.once('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

/** A fresh folder for a server's database, removed when the bench ends. */
export function dataFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-bench-'))
  folders.push(folder)
  return folder
}
