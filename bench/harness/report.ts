import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { machine, table } from './table.ts'

/** What a run has to say: on the console at once, and as a page in the end. */
export interface Report {
  /** Begins what is said of one case. @param about for who reads the page and knows nothing yet */
  section(title: string, about: string): void
  note(text: string): void
  table(head: readonly string[], rows: readonly (readonly string[])[]): void
  /** A figure, and whether it is where it must be. */
  aim(text: string, figure: number, reached?: (figure: number) => boolean): void
}

const HEAD = `# What it costs

Written by \`npm run bench -- --report\`, which measures on the machine that it runs on; \`npm run bench -- CASE --report\` writes one case anew.

How to read it: servers are processes of their own under load from eight connections, and take turns within one run, so that what else happens on
the machine falls on all alike. **Compare figures within a table, not between tables**: each says on what machine it was taken, and how busy that
was. *CPU µs* is what the server's processes used for one request, all threads, read inside the process (median, and the middle half between q1 and
q3). It is the figure to plan with: a core has a million a second. *Requests/s* is what came through, and depends on what else the machine did.
*MiB* is what the server's process had in memory at the end.
`

/** @param path of the page, which is written as soon as there is more to say; of cases that are not run it keeps what it says */
export function createReport(path?: string): Report {
  const sections = new Map<string, string[]>()
  const order: string[] = []
  let current: string[] = []
  /** What the page said before stays until there are figures. */
  const keep = (): void => {
    const title = current[0]?.slice(3) ?? ''
    sections.set(title, current)
    if (!order.includes(title)) order.push(title)
    if (path === undefined) return
    const before = existsSync(path) ? readFileSync(path, 'utf8') : ''
    const kept = new Map(
      before
        .split('\n## ')
        .slice(1)
        .map((text) => [text.split('\n')[0] ?? '', `## ${text.trim()}`]),
    )
    const titles = [...kept.keys(), ...order.filter((title) => !kept.has(title))]
    const all = titles.map((title) => sections.get(title)?.join('\n\n') ?? kept.get(title) ?? '')
    writeFileSync(path, `${[HEAD.trim(), ...all].join('\n\n')}\n`)
  }

  return {
    section(title, about) {
      console.log(`${title}\n`)
      const load = (loadavg()[0] ?? 0).toFixed(1)
      const at = `${new Date().toISOString().slice(0, 10)}, on ${machine().replace('\n', '; ')}; load before: ${load}.`
      current = [`## ${title}`, about, at]
    },
    note(text) {
      console.log(`${text}\n`)
      current.push(text)
    },
    table(head, rows) {
      console.log(`${table(head, rows)}\n`)
      const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
      const rule = head.map((_, column) => (column === 0 ? '---' : '--:'))
      current.push([head, rule, ...rows].map(line).join('\n'))
      keep()
    },
    aim(text, figure, reached) {
      const verdict = reached === undefined ? '' : reached(figure) ? ': reached' : ': MISSED'
      const line = `- ${text}: ${figure.toFixed(3)}${verdict}`
      console.log(line)
      const last = current.at(-1) ?? ''
      if (last.startsWith('- ')) current[current.length - 1] = `${last}\n${line}`
      else current.push(line)
      keep()
    },
  }
}
