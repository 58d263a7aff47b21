import type { english } from './english.ts'

export type WordKey = keyof typeof english
export type Words = Readonly<Record<WordKey, string>>

/** A sentence, with the names of what stands in braces. */
export const partsOf = (text: string): readonly (string | { readonly name: string })[] =>
  text.split(/\{(\w+)\}/).map((part, index) => (index % 2 === 0 ? part : { name: part }))

/** What a sentence has in braces, sorted. */
export const placeholdersOf = (text: string): readonly string[] =>
  partsOf(text)
    .flatMap((part) => (typeof part === 'string' ? [] : [part.name]))
    .sort()

/** @see RFC 5646 §2.1 */
export const languageTag = /^[a-zA-Z]{2,8}(-[a-zA-Z0-9]{1,8})*$/
