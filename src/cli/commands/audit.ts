import { UsageError } from '../usage.ts'
import { type Command, text, texts, type Values } from './command.ts'

export const audit: Readonly<Record<string, Command>> = {
  query: {
    options: {
      ...{ account: { type: 'string' }, client: { type: 'string' }, grant: { type: 'string' } },
      ...{ type: { type: 'string', multiple: true }, from: { type: 'string' }, to: { type: 'string' } },
      ...{ limit: { type: 'string' }, cursor: { type: 'string' }, 'oldest-first': { type: 'boolean' } },
    },
    async run({ setting, values, output }) {
      const log = await setting.auditLog()
      const types = texts(values, 'type')
      const limit = text(values, 'limit')
      const page = await log.query({
        account: text(values, 'account'),
        clientId: text(values, 'client'),
        grant: text(values, 'grant'),
        ...(types.length === 0 ? {} : { types }),
        from: time(values, 'from'),
        to: time(values, 'to'),
        ...(limit === undefined ? {} : { limit: Number(limit) }),
        cursor: text(values, 'cursor'),
        oldestFirst: values['oldest-first'] === true,
      })
      async function* all() {
        yield* page.events.map((event) => ({ ...event, event }))
      }
      async function* plain() {
        yield* page.events
        if (page.cursor !== undefined) yield { cursor: page.cursor }
      }
      if (values.json === true) return output.list(plain(), [])
      await output.list(all(), ['at', 'type', 'event'])
      if (page.cursor !== undefined) output.done({}, `more: --cursor ${page.cursor}`)
    },
  },
}

const units: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** A date as ISO 8601 has it, or how long ago: `30m`, `24h`, `7d`. */
const time = (values: Values, name: string): number | undefined => {
  const given = text(values, name)
  if (given === undefined) return undefined
  const [, count, unit = ''] = /^(\d{1,6})([smhd])$/.exec(given) ?? []
  const at = count === undefined ? Date.parse(given) : Date.now() - Number(count) * (units[unit] ?? 0)
  if (Number.isNaN(at)) throw new UsageError(`--${name} is a date like 2026-01-31T12:00Z, or a time ago like 24h`)
  return at
}
