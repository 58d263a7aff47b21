import {
  type Attributes,
  durationBounds,
  errorType,
  eventsMetric,
  metrics,
  type Operation,
  type Outcome,
  type Telemetry,
} from './telemetry.ts'

export type { Telemetry }

export interface Prometheus extends Telemetry {
  /** All metrics in Prometheus's text format, version 0.0.4. Serve it where strangers don't come. */
  text(): string
  /** The same as an answer to a scrape. */
  respond(): Response
}

/** So many time series a metric; what would be more is counted in one series of its own. */
const mostSeries = 1_000
const overflow = '{otel_metric_overflow="true"}'

interface Histogram {
  readonly buckets: number[]
  sum: number
  count: number
}

/** Keeps metrics in this process, for Prometheus to fetch: `countersign({ …, telemetry: metrics })`, and `metrics.text()` at a route of yours. */
export const prometheus = (): Prometheus => {
  const durations = new Map<Operation['metric'], Map<string, Histogram>>()
  const active = new Map<Operation['metric'], number>()
  const events = new Map<string, number>()

  const observed = (metric: Operation['metric'], attributes: Attributes, seconds: number): void => {
    let series = durations.get(metric)
    if (!series) {
      series = new Map()
      durations.set(metric, series)
    }
    const key = bounded(series, labels(attributes))
    let histogram = series.get(key)
    if (!histogram) {
      histogram = { buckets: durationBounds.map(() => 0), sum: 0, count: 0 }
      series.set(key, histogram)
    }
    histogram.count += 1
    histogram.sum += seconds
    for (const [index, bound] of durationBounds.entries()) {
      if (seconds <= bound) histogram.buckets[index] = (histogram.buckets[index] ?? 0) + 1
    }
  }

  const text = (): string => {
    const lines: string[] = []
    for (const [metric, series] of durations) {
      const name = `${metric.replaceAll('.', '_')}_seconds`
      lines.push(`# HELP ${name} ${metrics[metric].help}`, `# TYPE ${name} histogram`)
      for (const [key, { buckets, sum, count }] of series) {
        for (const [index, bound] of durationBounds.entries()) {
          lines.push(`${name}_bucket${withLabel(key, 'le', String(bound))} ${buckets[index]}`)
        }
        lines.push(`${name}_bucket${withLabel(key, 'le', '+Inf')} ${count}`)
        lines.push(`${name}_sum${key} ${sum}`, `${name}_count${key} ${count}`)
      }
    }
    const underWay = 'countersign_active_operations'
    lines.push(`# HELP ${underWay} Operations under way`, `# TYPE ${underWay} gauge`)
    for (const [metric, count] of active) lines.push(`${underWay}${labels({ metric })} ${count}`)
    const total = `${eventsMetric.name.replaceAll('.', '_')}_total`
    lines.push(`# HELP ${total} ${eventsMetric.help}`, `# TYPE ${total} counter`)
    for (const [key, count] of events) lines.push(`${total}${key} ${count}`)
    return `${lines.join('\n')}\n`
  }

  return {
    async observe<T>(operation: Operation, run: () => Promise<T>, outcome?: (result: T) => Outcome): Promise<T> {
      const { metric, attributes } = operation
      const startedAt = performance.now()
      active.set(metric, (active.get(metric) ?? 0) + 1)
      const end = (more: Attributes | undefined) => {
        active.set(metric, (active.get(metric) ?? 1) - 1)
        observed(metric, { ...attributes, ...more }, (performance.now() - startedAt) / 1000)
      }
      try {
        const result = await run()
        end(outcome?.(result).attributes)
        return result
      } catch (error) {
        end({ 'error.type': errorType(error) })
        throw error
      }
    },
    event(attributes) {
      const key = bounded(events, labels(attributes))
      events.set(key, (events.get(key) ?? 0) + 1)
    },
    text,
    respond: () =>
      new Response(text(), {
        headers: { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8', 'Cache-Control': 'no-store' },
      }),
  }
}

const bounded = (series: ReadonlyMap<string, unknown>, key: string): string =>
  series.has(key) || series.size < mostSeries ? key : overflow

const labels = (attributes: Attributes): string => {
  const pairs = Object.entries(attributes).map(
    ([name, value]) => `${name.replaceAll('.', '_')}="${escaped(String(value))}"`,
  )
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

const withLabel = (key: string, name: string, value: string): string =>
  key === '' ? `{${name}="${value}"}` : `${key.slice(0, -1)},${name}="${value}"}`

const escaped = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
