import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

const pages = readdirSync(new URL('../../docs', import.meta.url), { recursive: true, encoding: 'utf8' }).filter(
  (name) => name.endsWith('.md'),
)
const examplesIn = (page: string) => [...read(page).matchAll(/<!-- example: (\S+) -->\n```ts\n([\s\S]*?)```/g)]
const examples = ['README.md', ...pages.map((name) => `docs/${name}`)].flatMap(examplesIn)

test('the README shows examples', () => {
  expect(examplesIn('README.md').length).toBeGreaterThan(4)
})

test.each(examples.map(([, path = '', code]) => [path, code]))('%s stands where it is shown as it is', (path, code) => {
  expect(code).toBe(read(path))
})
