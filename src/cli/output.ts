import { jsonLine } from '../events/json-line.ts'

/** Where answers go: for people, or JSON for programs. */
export interface Output {
  /** One thing. */
  show(value: object): void
  /** Things of a kind, one after the other as they come; `columns` are what people see of them. */
  list(values: AsyncIterable<object>, columns: readonly string[]): Promise<void>
  /** What was done. */
  done(value: object, sentence: string): void
}

/** @param write a piece of standard output */
export const createOutput = (json: boolean, write: (text: string) => void): Output => ({
  show(value) {
    if (json) return write(`${jsonLine(value)}\n`)
    for (const [name, member] of Object.entries(value)) write(`${name.padEnd(14)} ${shown(name, member)}\n`)
  },

  async list(values, columns) {
    const lines: (readonly string[])[] = []
    for await (const value of values) {
      // A line each: whoever reads it can begin before it has ended.
      if (json) write(`${jsonLine(value)}\n`)
      else lines.push(columns.map((name) => shown(name, (value as Readonly<Record<string, unknown>>)[name])))
    }
    if (json) return
    if (lines.length === 0) return write('none\n')
    const widths = columns.map((name, index) => Math.max(name.length, ...lines.map((line) => line[index]?.length ?? 0)))
    for (const line of [columns, ...lines]) {
      write(
        `${line
          .map((cell, index) => cell.padEnd(widths[index] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
      )
    }
  },

  done(value, sentence) {
    write(json ? `${jsonLine(value)}\n` : `${sentence}\n`)
  },
})

const times = ['createdAt', 'activeFrom', 'until', 'usedAt', 'expiresAt', 'at']

const shown = (name: string, value: unknown): string => {
  if (value === undefined || value === null) return ''
  // Zero is from the beginning.
  if (times.includes(name) && typeof value === 'number') return value > 0 ? new Date(value).toISOString() : ''
  return printable(typeof value === 'string' ? value : JSON.stringify(value))
}

/** Names are strangers' words: none of them moves the cursor or colours the terminal. */
export const printable = (value: string): string => value.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '\ufffd')
