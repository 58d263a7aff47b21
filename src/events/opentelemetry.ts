import {
  type Context,
  context,
  type Histogram,
  metrics as metricsApi,
  propagation,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
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

const scope = 'countersign'

const kinds = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL } as const

/**
 * Sends spans and metrics through OpenTelemetry's API, to whatever SDK the application has registered, before or after. Needs the package
 * `@opentelemetry/api` beside this one. Traces go on from the headers of requests; nothing of them is sent to identity providers.
 * @see https://opentelemetry.io/docs/languages/js/
 */
export const openTelemetry = (): Telemetry => {
  const instruments = createInstruments()

  return {
    observe<T>(operation: Operation, run: () => Promise<T>, outcome?: (result: T) => Outcome): Promise<T> {
      const { metric, name, attributes } = operation
      const parent = parentOf(operation)
      const span = trace.getTracer(scope).startSpan(name, { kind: kinds[metrics[metric].kind], attributes }, parent)
      const startedAt = performance.now()
      const end = (more: Attributes | undefined, failed: boolean): void => {
        if (more) span.setAttributes(more)
        if (failed) span.setStatus({ code: SpanStatusCode.ERROR })
        span.end()
        instruments().durations[metric].record((performance.now() - startedAt) / 1000, { ...attributes, ...more })
      }
      return context.with(trace.setSpan(parent, span), async () => {
        try {
          const result = await run()
          const { attributes: more, failed = false } = outcome?.(result) ?? {}
          end(more, failed)
          return result
        } catch (error) {
          // Its class alone: its text is for logs.
          end({ 'error.type': errorType(error) }, true)
          throw error
        }
      })
    },
    event: (attributes) => instruments().events.add(1, attributes),
  }
}

const parentOf = ({ carrier }: Operation): Context => {
  const active = context.active()
  // An instrumentation of the HTTP server has begun it already.
  if (!carrier || trace.getSpan(active)) return active
  return propagation.extract(active, carrier, {
    get: (headers, key) => headers.get(key) ?? undefined,
    keys: () => ['traceparent', 'tracestate', 'baggage'],
  })
}

/** Made at the first use: instruments that were made before an SDK was registered would stay without it. */
const createInstruments = () => {
  let made: ReturnType<typeof make> | undefined
  const make = () => {
    const meter = metricsApi.getMeter(scope)
    const durations = Object.fromEntries(
      Object.entries(metrics).map(([name, { help }]) => [
        name,
        meter.createHistogram(name, {
          unit: 's',
          description: help,
          advice: { explicitBucketBoundaries: [...durationBounds] },
        }),
      ]),
    ) as Record<Operation['metric'], Histogram>
    const events = meter.createCounter(eventsMetric.name, { unit: '{event}', description: eventsMetric.help })
    return { durations, events }
  }
  return () => {
    made ??= make()
    return made
  }
}
