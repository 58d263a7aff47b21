import fc from 'fast-check'
import { expect, test } from 'vitest'
import { pathOf } from '../../src/http/path.ts'

test('the path of whatever URL a request has, as the platform reads it', () => {
  fc.assert(
    fc.property(fc.webUrl({ withQueryParameters: true, withFragments: true }), (url) => {
      const request = new Request(url)
      expect(pathOf(request.url)).toBe(new URL(request.url).pathname)
    }),
  )
})

test.each([
  ['http://localhost', '/'],
  ['http://localhost:8787?path=/token', '/'],
  ['http://localhost:8787/token?next=/other', '/token'],
  ['http://localhost:8787/token#/other', '/token'],
  ['http://localhost:8787/a/../token', '/token'],
  ['http://localhost:8787/%74oken', '/%74oken'],
  ['http://localhost:8787//token', '//token'],
  ['http://user@localhost.example:80/tok?en', '/tok'],
])('%s is at %s', (url, path) => {
  expect(pathOf(new URL(url).href)).toBe(path)
  expect(new URL(url).pathname).toBe(path)
})
