import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

// The documents that say which test shows what: a test that was renamed or taken away must not stay promised.

const docs = new URL('../../docs/', import.meta.url)

test.each(['conformance.md', 'threat-model.md'])('%s names tests that are there', (document) => {
  const text = readFileSync(new URL(document, docs), 'utf8')
  const named = [...text.matchAll(/\]\((\.\.\/tests\/[^)]+)\)(?:: ((?:(?!<br>| \|\n).)+))?/g)]
  expect(named.length).toBeGreaterThan(30)
  for (const [, path = '', name] of named) {
    const file = fileURLToPath(new URL(path, docs))
    expect(existsSync(file), path).toBe(true)
    if (name !== undefined)
      expect(readFileSync(file, 'utf8'), `${path}: ${name}`).toContain(name.replaceAll('\\|', '|'))
  }
})

test.each(['conformance.md', 'threat-model.md'])('%s leaves no row without a test', (document) => {
  const rows = readFileSync(new URL(document, docs), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| '))
  const unshown = rows.filter((row) => !row.includes('](../tests/') && !/\| Test \|$/.test(row))
  expect(unshown).toEqual([])
})
