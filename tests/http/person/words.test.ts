import { expect, test } from 'vitest'
import { english } from '../../../src/http/pages/english.ts'
import { createRenderer } from '../../../src/http/pages/render.ts'
import { placeholdersOf } from '../../../src/http/pages/words.ts'
import { samplePages } from '../../support/sample-pages.ts'

// A language that nobody speaks: each sentence is its key, and what is put into it.
const marked = Object.fromEntries(
  Object.entries(english).map(([key, sentence]) => [
    key,
    `⟦${key}⟧${placeholdersOf(sentence).map((name) => `{${name}}`)}`,
  ]),
)

const textOf = (html: string) =>
  html
    .replace(/<style>.*?<\/style>/s, '')
    .replace(/<time[^>]*>.*?<\/time>/g, '')
    .replace(/<[^>]*>/g, ' ')

const render = createRenderer({ name: 'Host', languages: { de: { words: marked } } }, '')

/** Names, addresses and the host's own texts. */
const data = new RegExp(
  [
    ...[
      'Back office',
      'Claude',
      'Tool',
      'Notes',
      'Host',
      'Alice',
      'Acme',
      'Other',
      'Third',
      'Read notes',
      'Change notes',
    ],
    ...['alice@example\\.org', 'https?://\\S+', 'cursor://app', 'claude\\.ai', 'editor\\.example', 'app\\.example'],
    ...['\\bscope\\b', '\\bemail\\b', '\\d+ Minuten', '\\bund\\b', '127\\.0\\.0\\.1'],
  ].join('|'),
  'g',
)

test.each(Object.entries(samplePages))('no word of %s is but in the list of words', (_name, page) => {
  const rest = textOf(render(page, ['de']))
    .replace(/⟦[\w.]+⟧/g, '')
    .replace(data, '')
  expect(rest.match(/\p{L}+/gu) ?? []).toEqual([])
})

test('every word of the list is on a page', () => {
  const all = Object.values(samplePages)
    .map((page) => render(page, ['de']))
    .join('')
  expect(Object.keys(english).filter((key) => !all.includes(`⟦${key}⟧`))).toEqual([])
})

test('every page has one heading, a language, and a name for each thing that can be filled in or pressed', () => {
  for (const [name, page] of Object.entries(samplePages)) {
    const html = render(page, ['en'])
    expect(html.match(/<h1>/g), name).toHaveLength(1)
    expect(html).toContain('<html lang="en" dir="ltr">')
    for (const [, content = ''] of html.matchAll(/<(?:button|summary)\b[^>]*>(.*?)<\/(?:button|summary)>/gs)) {
      expect(textOf(content).trim(), name).not.toBe('')
    }
    for (const [input] of html.matchAll(/<input\b[^>]*>/g)) {
      if (input.includes('type="hidden"')) continue
      const before = html.slice(0, html.indexOf(input))
      expect(before.lastIndexOf('<label'), `${name}: ${input}`).toBeGreaterThan(before.lastIndexOf('</label>'))
    }
    expect(html).not.toMatch(/<script|\son\w+=|javascript:|style="/)
  }
})
