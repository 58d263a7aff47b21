import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { eventsMetric, metrics } from '../../src/events/telemetry.ts'

const attributes =
  /\b(http_route|http_response_status_code|server_address|db_system_name|db_operation_name|error_type|countersign_resource|countersign_decision|countersign_store_committed|type|reason|metric|le)\b/

test('the dashboard asks only for what is measured', () => {
  const { panels } = JSON.parse(readFileSync('deploy/dashboard.json', 'utf8')) as {
    panels: { title: string; targets: { expr: string }[] }[]
  }
  const underscored = (name: string) => name.replaceAll('.', '_')
  const known = new Set([
    ...Object.keys(metrics).flatMap((name) => [
      `${underscored(name)}_seconds_count`,
      `${underscored(name)}_seconds_bucket`,
    ]),
    `${underscored(eventsMetric.name)}_total`,
    'countersign_active_operations',
  ])
  const types = [...readFileSync('src/events/audit.ts', 'utf8').matchAll(/readonly type: '([a-z_.]+)'/g)]
  const asked = new Set<string>()
  for (const { expr } of panels.flatMap(({ targets }) => targets)) {
    const names = expr.match(/\b(http|db|countersign)[a-z_]*(_total|_count|_bucket|_active_operations)\b/g) ?? []
    expect(names, expr).not.toEqual([])
    for (const name of names) asked.add(name)
    for (const [, wanted = ''] of expr.matchAll(/\btype=~"([^"]*)"/g)) {
      for (const one of wanted.split('|')) {
        const exact = new RegExp(`^${one}$`)
        expect(
          types.filter(([, type = '']) => exact.test(type)),
          one,
        ).not.toEqual([])
      }
    }
    for (const [, labels = ''] of expr.matchAll(/by \(([^)]*)\)/g)) {
      for (const label of labels.split(', ')) expect(label).toMatch(attributes)
    }
  }
  for (const name of asked) expect(known).toContain(name)
  expect(asked.size).toBeGreaterThan(5)
})
