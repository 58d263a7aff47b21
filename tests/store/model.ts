/** Any sequence of operations leaves an engine and a plain Map in the same state, with the same answers. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Batch, Version } from '../../src/store/store.ts'
import type { NewBench } from './contract.ts'
import { AFTER_SHORT, bytes, LONG, SHORT, text } from './contract.ts'

const KEYS = ['a', 'a%', 'a/', 'a/1', 'a/B', 'a/b', 'A', '_', '~', '"']
const PREFIXES = ['', 'a', 'a/', 'a%', '_', '~', 'z']

const key = fc.constantFrom(...KEYS)
const ttl = fc.constantFrom(undefined, SHORT, LONG)
/** Which version a check names: what is there now, "absent", or one that the key had earlier. */
const check = fc.record({ key, expects: fc.constantFrom('current', 'absent', 'earlier') })

const operation = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('commit' as const),
      checks: fc.array(check, { maxLength: 3 }),
      writes: fc.uniqueArray(
        fc.record({ key, value: fc.option(fc.string({ maxLength: 8 }), { nil: undefined }), ttl }),
        {
          selector: (write) => write.key,
          maxLength: 4,
        },
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('get' as const), keys: fc.array(key, { maxLength: 5 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('list' as const),
      prefix: fc.constantFrom(...PREFIXES),
      after: fc.option(key, { nil: undefined }),
      limit: fc.integer({ min: 1, max: 12 }),
      reverse: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('increment' as const),
      key,
      by: fc.integer({ min: -5, max: 5 }),
      ttl: fc.constantFrom(SHORT, LONG),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pass' as const) }) },
)

interface Modelled {
  readonly value: string
  readonly version: Version
  readonly ends: Span
}

/** The engine's clock at the earliest and at the latest. */
type Span = readonly [number, number]

const after = ([earliest, latest]: Span, ttl = Number.POSITIVE_INFINITY): Span => [earliest + ttl, latest + ttl]

export function model(newBench: NewBench, runs = 60): void {
  test('any sequence of operations answers as a plain map would', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 25 }), async (operations) => {
        const { store, pass, end } = await newBench()
        const map = new Map<string, Modelled>()
        const counters = new Map<string, { value: number; ends: Span }>()
        const earlier = new Map<string, Version>()
        try {
          let before = (await store.get([])).now
          /** When the step was done. What ends in that time may be there or not: such a run, on a slow machine, is done anew. */
          const when = async (): Promise<Span> => {
            const span: Span = [before, (await store.get([])).now]
            for (const entries of [map, counters]) {
              for (const [key, { ends }] of entries) {
                if (ends[1] <= span[0]) entries.delete(key)
                else fc.pre(span[1] < ends[0])
              }
            }
            before = span[1]
            return span
          }
          for (const step of operations) {
            if (step.do === 'pass') {
              await pass(AFTER_SHORT)
              before = (await store.get([])).now
            } else if (step.do === 'get') {
              const { entries } = await store.get(step.keys)
              await when()
              expect(entries.map((e) => e && [text(e.value), e.version])).toEqual(
                step.keys.map((k) => map.get(k)).map((m) => m && [m.value, m.version]),
              )
            } else if (step.do === 'list') {
              const { prefix, after, limit, reverse } = step
              const { entries } = await store.list(prefix, { limit, reverse, ...(after !== undefined && { after }) })
              await when()
              const expected = [...map.keys()].filter((k) => k.startsWith(prefix)).sort()
              if (reverse) expected.reverse()
              const left = expected
                .filter((k) => after === undefined || (reverse ? k < after : k > after))
                .slice(0, limit)
              expect(entries.map((e) => [e.key, text(e.value), e.version])).toEqual(
                left.map((k) => [k, map.get(k)?.value, map.get(k)?.version]),
              )
            } else if (step.do === 'increment') {
              const { value } = await store.increment(step.key, step.by, step.ttl)
              const done = await when()
              const counter = counters.get(step.key) ?? { value: 0, ends: after(done, step.ttl) }
              counter.value += step.by
              counters.set(step.key, counter)
              expect(value).toBe(counter.value)
            } else {
              // What these checks name is settled before, what they find only after.
              await when()
              const checks = step.checks.map(({ key, expects }) => ({
                key,
                version:
                  expects === 'absent' ? undefined : expects === 'current' ? map.get(key)?.version : earlier.get(key),
              }))
              const sets = step.writes.flatMap(({ key, value, ttl }) =>
                value === undefined ? [] : [{ key, value: bytes(value), ...(ttl !== undefined && { ttl }) }],
              )
              const deletes = step.writes.filter(({ value }) => value === undefined).map(({ key }) => key)
              const batch: Batch = { checks, sets, deletes }
              const result = await store.commit(batch)
              const done = await when()
              const holds = checks.every(({ key, version }) => map.get(key)?.version === version)
              expect(result.committed).toBe(holds)
              if (!result.committed) continue
              for (const { key, value, ttl } of step.writes) {
                const before = map.get(key)
                if (before !== undefined) earlier.set(key, before.version)
                map.delete(key)
                if (value !== undefined) map.set(key, { value, version: result.version, ends: after(done, ttl) })
              }
            }
          }
        } finally {
          await end()
        }
      }),
      { numRuns: runs },
    )
  })
}
