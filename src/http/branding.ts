import * as z from 'zod'
import { isLoopbackHost } from '../oauth/loopback.ts'
import { english } from './pages/english.ts'
import { languageTag, placeholdersOf, type WordKey, type Words } from './pages/words.ts'

/** How the pages look: the host's own name, logo and colour. */
export interface Branding {
  /** What people know this service by. Default: the host name of the server. */
  readonly name?: string | undefined
  /** An https or data URL of an image; shown 40 pixels high. */
  readonly logo?: string | undefined
  /** `#rrggbb` or `#rgb`. Colours of text are computed from it, so that they can be read on every background. */
  readonly color?: string | undefined
  /** The language of the host's own texts (its name, what scopes allow), as in `lang`; and of the pages, where nobody asks for another that is there. */
  readonly lang?: string | undefined
  /**
   * Other words than ours, by language tag; `en` replaces English ones. A page has the language that the client names (`ui_locales`), else that
   * the browser accepts, else `lang`, else English.
   */
  readonly languages?: Readonly<Record<string, PageLanguage>> | undefined
}

export interface PageLanguage {
  /** By key, as in English (`pages/english.ts`), with the same braces. What is left out is English. */
  readonly words?: Partial<Words> | undefined
  /** The host's own texts, by what stands in the configuration: names of resources and providers, what scopes allow. */
  readonly texts?: Readonly<Record<string, string>> | undefined
}

/** With the default name filled in. */
export type NamedBranding = Branding & { readonly name: string }

export type Rgb = readonly [red: number, green: number, blue: number]

const isImage = (logo: string): boolean => {
  if (/^data:image\/(png|jpeg|gif|webp|avif|svg\+xml)[;,]/.test(logo)) return true
  if (!URL.canParse(logo)) return false
  const { protocol, hostname } = new URL(logo)
  return protocol === 'https:' || (protocol === 'http:' && isLoopbackHost(hostname))
}

const tag = z.string().regex(languageTag, 'expected a language tag like "de" or "pt-BR"')

/** A sentence without its name or address would not say who asks. */
const words = z.record(z.string(), z.string().min(1).max(1_000)).superRefine((replaced, context) => {
  for (const [key, sentence] of Object.entries(replaced)) {
    const here = (message: string) => context.addIssue({ code: 'custom', path: [key], message })
    if (!Object.hasOwn(english, key)) {
      here('expected a key of the English words')
      continue
    }
    const wanted = placeholdersOf(english[key as WordKey])
    if (placeholdersOf(sentence).join() !== wanted.join()) {
      here(`expected a sentence with ${wanted.map((name) => `{${name}}`).join(', ') || 'no braces'}`)
    }
  }
})

/** @internal */
export const brandingSchema = z.strictObject({
  name: z.string().trim().min(1, 'expected a name that people know').max(100).optional(),
  logo: z.string().refine(isImage, 'expected an https or data URL of an image').optional(),
  color: z
    .string()
    .refine((color) => parseColor(color) !== undefined, 'expected #rrggbb or #rgb')
    .optional(),
  lang: tag.optional(),
  languages: z
    .record(tag, z.strictObject({ words: words.optional(), texts: z.record(z.string(), z.string()).optional() }))
    .optional(),
})

/** What a page may load the logo from, for its Content-Security-Policy. */
export const imageSource = ({ logo }: Branding): string | undefined => {
  if (logo === undefined) return undefined
  return logo.startsWith('data:') ? 'data:' : new URL(logo).origin
}

export const parseColor = (text: string): Rgb | undefined => {
  const [, short, long] = /^#(?:([0-9a-f]{3})|([0-9a-f]{6}))$/i.exec(text) ?? []
  const digits = long ?? short?.replace(/./g, '$&$&')
  if (digits === undefined) return undefined
  const channel = (at: number) => Number.parseInt(digits.slice(at, at + 2), 16)
  return [channel(0), channel(2), channel(4)]
}

/** @see WCAG 2.2, "relative luminance" */
const luminance = (color: Rgb): number => {
  const [red, green, blue] = color.map((value) => {
    const share = value / 255
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
  }) as [number, number, number]
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

/** From 1 to 21. @see WCAG 2.2, "contrast ratio" */
export const contrast = (a: Rgb, b: Rgb): number => {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number]
  return (light + 0.05) / (dark + 0.05)
}

const white: Rgb = [255, 255, 255]
const black: Rgb = [0, 0, 0]

/** White or black, whichever is read better on it. One of them always has a contrast of 4.5 at least. */
export const textOn = (background: Rgb): Rgb =>
  contrast(white, background) >= contrast(black, background) ? white : black

/** The colour itself where it can be read on the background, else mixed with white or black just as far as needed. */
export const readableOn = (background: Rgb, color: Rgb, ratio = 4.5): Rgb => {
  const towards = textOn(background)
  for (let share = 0; share < 1; share += 0.05) {
    const mixed = color.map((value, index) => Math.round(value + ((towards[index] ?? 0) - value) * share))
    if (contrast(mixed as unknown as Rgb, background) >= ratio) return mixed as unknown as Rgb
  }
  return towards
}

export const cssColor = (color: Rgb): string => `#${color.map((value) => value.toString(16).padStart(2, '0')).join('')}`
