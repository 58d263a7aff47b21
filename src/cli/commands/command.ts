import type { Output } from '../output.ts'
import type { Setting } from '../setting.ts'

export type Values = Readonly<Record<string, string | boolean | readonly string[] | undefined>>

/** What a command gets. */
export interface Invocation {
  readonly setting: Setting
  readonly values: Values
  /** What was typed after the command's name. */
  readonly argument: string
  readonly output: Output
}

export interface Command {
  /** What `parseArgs` reads, besides what every command has. */
  readonly options?: Readonly<Record<string, { readonly type: 'string' | 'boolean'; readonly multiple?: boolean }>>
  /** What must be typed after the name, where something must. */
  readonly argument?: string
  /** It may make a store that is not there. */
  readonly makesStore?: boolean
  run(invocation: Invocation): Promise<void>
}

export const text = (values: Values, name: string): string | undefined => {
  const value = values[name]
  return typeof value === 'string' ? value : undefined
}

export const texts = (values: Values, name: string): readonly string[] => {
  const value = values[name]
  return Array.isArray(value) ? value : []
}

/** All pages of a list, one after the other. */
export async function* allPages<Page extends { readonly cursor?: string }>(
  page: (cursor: string | undefined) => Promise<Page>,
): AsyncGenerator<Page> {
  for (let cursor: string | undefined; ; ) {
    const next = await page(cursor)
    yield next
    if (next.cursor === undefined) return
    cursor = next.cursor
  }
}
