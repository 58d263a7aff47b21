import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bareOf, decodedOf, hrefOf, spellingsOf } from '../../src/mcp/policy/resource-uri.ts'

const distinct = (texts: readonly (string | undefined)[]) => [...new Set(texts.filter((text) => text !== undefined))]

/** As it is defined, whatever the URI looks like. */
const defined = (uri: string) => {
  const [href, bare] = [hrefOf(uri), bareOf(uri)]
  return {
    written: distinct([uri, href]),
    reduced: distinct([bare, ...[uri, href, bare].map((each) => each && decodedOf(each))]),
  }
}

const schemes = fc.constantFrom(
  'notes',
  'a',
  'x+y.z-1',
  'http',
  'https',
  'file',
  'ws',
  'ftp',
  'HTTP',
  'Notes',
  'mailto',
)
const pieces = fc.constantFrom(
  ...[
    'a',
    'A',
    '0',
    '1',
    '127',
    '.',
    '..',
    '-',
    '~',
    '_',
    '/',
    '//',
    '%',
    '%2e',
    '%2F',
    '%41',
    '\\',
    '?',
    '#',
    '@',
    ':',
  ],
  ...[
    ':80',
    ' ',
    '\t',
    '\n',
    'ü',
    '[',
    ']',
    '[::1]',
    '*',
    ';',
    '&',
    '=',
    '+',
    ',',
    "'",
    '"',
    '<',
    '|',
    'xn--',
    '\u3002',
    '\u00ad',
  ],
)
const uris = fc
  .tuple(schemes, fc.constantFrom('://', ':', ':/', ':///'), fc.array(pieces, { maxLength: 8 }))
  .map(([scheme, separator, rest]) => scheme + separator + rest.join(''))

test('how often a URI can be written is found out the short way as it is the long way', () => {
  fc.assert(
    fc.property(fc.oneof(uris, fc.webUrl(), fc.string()), (uri) => {
      const found = spellingsOf(uri)
      if (found) expect(found).toEqual(defined(uri))
    }),
    { numRuns: 20_000 },
  )
})

test.each([
  ['notes://team/note-1', ['notes://team/note-1'], ['notes://team/note-1']],
  ['notes://team/a/../b', ['notes://team/a/../b', 'notes://team/b'], ['notes://team/b']],
  ['notes://team/%61', ['notes://team/%61'], ['notes://team/%61', 'notes://team/a']],
  ['https://Team.example/a', ['https://Team.example/a', 'https://team.example/a'], undefined],
  ['http://0x7f.1/a', ['http://0x7f.1/a', 'http://127.0.0.1/a'], undefined],
])('%s', (uri, written, reduced) => {
  expect(spellingsOf(uri)?.written).toEqual(written)
  if (reduced) expect(spellingsOf(uri)?.reduced).toEqual(reduced)
})
