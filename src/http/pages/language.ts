import { html } from 'hono/html'
import { english } from './english.ts'
import type { Markup } from './markup.ts'
import { languageTag, partsOf, type WordKey, type Words } from './words.ts'

type English = typeof english

type Placeholders<Text extends string> = Text extends `${string}{${infer Name}}${infer Rest}`
  ? Name | Placeholders<Rest>
  : never

/** What stands in braces in the sentence at a key, or in one of those at several keys. */
type PlaceholdersAt<Key extends WordKey> = Key extends WordKey ? Placeholders<English[Key]> : never

type Values<Key extends WordKey, Value> = [PlaceholdersAt<Key>] extends [never]
  ? []
  : [values: Readonly<Record<PlaceholdersAt<Key>, Value>>]

/** The words of a language, and how it writes numbers and times. */
export interface Language {
  /** As in `lang`. */
  readonly tag: string
  /** A sentence with what is put into it. Whatever is no markup is escaped. */
  say<Key extends WordKey>(key: Key, ...values: Values<Key, Markup | string>): Markup
  /** The same as text. */
  text<Key extends WordKey>(key: Key, ...values: Values<Key, string>): string
  /** How long to wait, in seconds. */
  duration(seconds: number): string
  /** A day, in UTC. Times are in milliseconds since the epoch. */
  date(at: number): string
  /** How long ago: that is the same in all time zones. */
  ago(at: number, now: number): string
  number(count: number): string
}

export const createLanguage = (tag: string, replaced: Partial<Words> = {}): Language => {
  const words: Words = { ...english, ...replaced }
  const duration = (count: number, unit: 'minute' | 'hour') =>
    new Intl.NumberFormat(tag, { style: 'unit', unit, unitDisplay: 'long' }).format(count)
  const dates = new Intl.DateTimeFormat(tag, { dateStyle: 'long', timeZone: 'UTC' })
  const relative = new Intl.RelativeTimeFormat(tag, { numeric: 'auto' })
  return {
    tag,
    number: (count) => new Intl.NumberFormat(tag).format(count),
    date: (at) => dates.format(at),
    ago: (at, now) => {
      const seconds = Math.max(0, (now - at) / 1000)
      if (seconds < 60) return relative.format(0, 'second')
      if (seconds < 3_600) return relative.format(-Math.floor(seconds / 60), 'minute')
      if (seconds < 86_400) return relative.format(-Math.floor(seconds / 3_600), 'hour')
      return relative.format(-Math.floor(seconds / 86_400), 'day')
    },
    say: (key, ...[values = {}]) => {
      const parts = partsOf(words[key])
      return html`${parts.map((part) => (typeof part === 'string' ? part : ((values as Filling)[part.name] ?? '')))}`
    },
    text: (key, ...[values = {}]) =>
      partsOf(words[key])
        .map((part) => (typeof part === 'string' ? part : ((values as Record<string, string>)[part.name] ?? '')))
        .join(''),
    duration: (seconds) =>
      seconds < 3_600
        ? duration(Math.max(1, Math.ceil(seconds / 60)), 'minute')
        : duration(Math.ceil(seconds / 3_600), 'hour'),
  }
}

type Filling = Readonly<Record<string, Markup | string | undefined>>

/**
 * The language of those there are that suits a reader best.
 * @param wanted language tags, best first
 * @see RFC 4647 §3.4
 */
export const chooseLanguage = (there: readonly string[], wanted: readonly string[]): string | undefined => {
  for (const tag of wanted) {
    for (let range = tag.toLowerCase(); range !== ''; range = range.slice(0, Math.max(0, range.lastIndexOf('-')))) {
      const found = there.find((each) => each.toLowerCase() === range)
      if (found !== undefined) return found
    }
  }
  return undefined
}

/** The tags of an `Accept-Language` header, best first. @see RFC 9110 §12.5.4 */
export const acceptedLanguages = (header: string | null): readonly string[] =>
  (header ?? '')
    .slice(0, 1_000)
    .split(',')
    .map((each) => {
      const [tag = '', ...parameters] = each.split(';').map((part) => part.trim())
      const quality = parameters.find((part) => part.startsWith('q='))?.slice(2)
      return { tag, quality: quality === undefined ? 1 : Number(quality) }
    })
    .filter(({ tag, quality }) => languageTag.test(tag) && quality > 0)
    .sort((a, b) => b.quality - a.quality)
    .map(({ tag }) => tag)

/** Written from right to left. */
export const directionOf = (tag: string): 'ltr' | 'rtl' =>
  /^(ar|arc|ckb|dv|fa|he|ks|ps|sd|ug|ur|yi)$/.test(tag.split('-', 1)[0]?.toLowerCase() ?? '') ? 'rtl' : 'ltr'
