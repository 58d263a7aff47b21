import { expect, test } from 'vitest'
import { freshnessOf } from '../../src/net/http-caching.ts'

const now = Date.parse('Sun, 06 Nov 2033 08:49:37 GMT')
const of = (headers: Record<string, string>) => freshnessOf(new Headers(headers), now)

test.each<[Record<string, string>, number | undefined]>([
  [{}, undefined],
  [{ 'cache-control': 'public' }, undefined],
  [{ 'cache-control': 'max-age=60' }, 60_000],
  [{ 'cache-control': 'public, Max-Age="60"' }, 60_000],
  [{ 'cache-control': 'max-age=60, s-maxage=600' }, 600_000],
  [{ 'cache-control': 'max-age=60', age: '20' }, 40_000],
  [{ 'cache-control': 'max-age=60', age: '90' }, 0],
  [{ 'cache-control': 'max-age=60, no-cache' }, 0],
  [{ 'cache-control': 'no-store' }, 0],
  [{ 'cache-control': 'private, max-age=60' }, 0],
  [{ 'cache-control': 'max-age=-1' }, 0],
  [{ 'cache-control': 'max-age=soon' }, 0],
  [{ expires: 'Sun, 06 Nov 2033 08:50:37 GMT' }, 60_000],
  [{ expires: 'Sun, 06 Nov 2033 08:50:37 GMT', date: 'Sun, 06 Nov 2033 08:50:07 GMT' }, 30_000],
  [{ expires: 'Sun, 06 Nov 2033 08:50:37 GMT', 'cache-control': 'max-age=5' }, 5_000],
  [{ expires: 'Sun, 06 Nov 1994 08:49:37 GMT' }, 0],
  [{ expires: '0' }, 0],
])('%j is fresh for %s milliseconds', (headers, expected) => {
  expect(of(headers)).toBe(expected)
})
