import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { partOf, withPart } from '../../scripts/quality.ts'
import { heading, report } from '../cluster/support/report.ts'

const proof = `${heading}\n\nwords\n\n## Redis\n\n### soak\n\nold\n`
const other = '# Another\n\n## Redis\n\n### soak\n\nnot of the proof\n'

test('each writer of the report writes its own part and keeps the others’', () => {
  const both = withPart(proof, other)
  expect(both).toBe(`${proof}\n${other}`)
  expect(withPart(both, '# Another\n\nnew')).toBe(`${proof}\n# Another\n\nnew\n`)
  expect(withPart('', other)).toBe(other)
  expect(partOf(both, '# Another')).toBe(other)
  expect(partOf(both, '# Missing')).toBe('')
})

test('the proof replaces its own sections alone', () => {
  const both = withPart(proof, other)
  const sections = new Map([['redis races', '### races\n\nnew']])
  const after = withPart(both, report(sections, partOf(both, heading)))
  expect(after).toMatch(/\n### races\n\nnew\n\n### soak\n\nold\n\n# Another\n/)
  expect(after.endsWith(`\n\n${other}`)).toBe(true)
  expect(after.match(/not of the proof/g)).toHaveLength(1)
})

test('the report that is there has a part that the proof finds', () => {
  const document = readFileSync(new URL('../../docs/quality.md', import.meta.url), 'utf8')
  expect(partOf(document, heading)).toContain('\n## PostgreSQL\n')
})
