import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

const examples = [...read('README.md').matchAll(/<!-- example: (\S+) -->\n```ts\n([\s\S]*?)```/g)]

test('the README shows examples', () => {
  expect(examples.length).toBeGreaterThan(4)
})

test.each(examples.map(([, path = '', code]) => [path, code]))('%s stands in the README as it is', (path, code) => {
  expect(code).toBe(read(path))
})
