import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, totalmem, type } from 'node:os'

/** Columns as wide as they must be; the first to the left, the others to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(line)].join('\n')
}

/** What the figures were taken on. Figures of two machines, or of two runs, are not to be compared; the ratios are. */
export function machine(): string {
  const [processor] = cpus()
  const memory = Math.round(totalmem() / 2 ** 30)
  return [
    `${cpus().length} × ${processor?.model.trim()}, ${memory} GiB, ${type()}`,
    `Node ${process.versions.node}, ${versions().join(', ')}`,
  ].join('\n')
}

function versions(): string[] {
  const root = execFileSync('npm', ['root'], { encoding: 'utf8' }).trim()
  return [
    '@modelcontextprotocol/server',
    'hono',
    '@hono/node-server',
    'jose',
    'zod',
    'oidc-provider',
    'libsql',
    'pg',
    'ioredis',
  ].map((name) => {
    const { version } = JSON.parse(readFileSync(`${root}/${name}/package.json`, 'utf8')) as { version: string }
    return `${name} ${version}`
  })
}
