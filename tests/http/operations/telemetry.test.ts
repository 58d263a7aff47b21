import { context, metrics as metricsApi, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { afterEach, describe, expect, test } from 'vitest'
import { countersign } from '../../../src/countersign.ts'
import { openTelemetry } from '../../../src/events/opentelemetry.ts'
import { prometheus } from '../../../src/events/prometheus.ts'
import type { Telemetry } from '../../../src/events/telemetry.ts'
import { memory } from '../../../src/store/memory.ts'
import { testIssuer } from '../../../src/testing.ts'
import { resourceServer } from '../../../src/verify-only.ts'
import { unreliable } from '../../support/unreliable-store.ts'

const url = 'http://localhost:8787'
const robot = { id: 'robot', name: 'Robot', secret: 'a secret of a robot that is long enough' }

const serve = (telemetry?: Telemetry | readonly Telemetry[]) => {
  const store = unreliable(memory())
  const auth = countersign({
    url,
    store,
    telemetry,
    audit: () => {},
    resources: { '/mcp': { scopes: { use: 'Use it' } } },
    clients: [{ ...robot, scopes: { '/mcp': ['use'] } }],
  })
  const gated = auth.gate('/mcp', () => new Response('in'))
  const send = async (path: string, init?: RequestInit) =>
    (await auth.respond(new Request(`${url}${path}`, init)))?.status
  const ask = (more: Record<string, string> = {}, headers: Record<string, string> = {}) => {
    const credentials = { client_id: robot.id, client_secret: robot.secret, grant_type: 'client_credentials' }
    const body = new URLSearchParams({ ...credentials, resource: `${url}/mcp`, ...more })
    return auth.respond(new Request(`${url}/token`, { method: 'POST', body, headers }))
  }
  const call = (token: string) => gated(new Request(`${url}/mcp`, { headers: { Authorization: `Bearer ${token}` } }))
  return { auth, store, send, ask, call }
}

const tokenOf = async (response: Response | undefined) =>
  ((await (response ?? expect.fail('no answer')).json()) as { access_token: string }).access_token

/** Some of everything: good, refused, unknown, and with the store away. */
const traffic = async ({ ask, call, send, store, auth }: ReturnType<typeof serve>) => {
  const token = await tokenOf(await ask())
  expect((await call(token)).status).toBe(200)
  expect((await call(`${token}x`)).status).toBe(401)
  expect((await ask({ client_secret: 'another secret that is long enough, too' }))?.status).toBe(401)
  expect(await send('/token', { method: 'BREW' as string })).toBe(405)
  expect(await send('/nothing/of/ours')).toBeUndefined()
  store.down = true
  expect((await ask())?.status).toBe(503)
  store.down = false
  await auth.close()
  return token
}

describe('prometheus', () => {
  test('tells of requests, gates, the store and events by the conventions’ names, in its text format', async () => {
    const metrics = prometheus()
    await traffic(serve(metrics))
    const text = metrics.text()
    const line = (start: string) => text.split('\n').find((each) => each.startsWith(start))
    const route = 'http_request_method="POST",http_route="/token",url_scheme="http"'
    const seconds = 'http_server_request_duration_seconds'
    expect(line(`${seconds}_count{${route},http_response_status_code="200"}`)).toMatch(/ 1$/)
    expect(line(`${seconds}_count{${route},http_response_status_code="401"}`)).toMatch(/ 1$/)
    expect(line(`${seconds}_count{${route},http_response_status_code="503",error_type="503"}`)).toMatch(/ 1$/)
    expect(line(`${seconds}_count{http_request_method="_OTHER"`)).toContain('405')
    expect(line(`${seconds}_bucket{${route},http_response_status_code="200",le="+Inf"}`)).toMatch(/ 1$/)
    expect(
      line(
        'countersign_gate_duration_seconds_count{countersign_resource="http://localhost:8787/mcp",countersign_decision="admitted"}',
      ),
    ).toMatch(/ 1$/)
    expect(text).toContain('countersign_decision="refused",http_response_status_code="401"')
    expect(text).toMatch(
      /db_client_operation_duration_seconds_count\{db_system_name="\w+",db_operation_name="get"\} \d+/,
    )
    expect(text).toContain('error_type="StoreUnavailable"')
    expect(text).toMatch(/countersign_events_total\{type="client.token_issued"\} 1/)
    expect(text).toMatch(/countersign_events_total\{type="access.refused",reason="[a-z_]+"\} 1/)
    expect(line('countersign_active_operations{metric="http.server.request.duration"}')).toMatch(/ 0$/)
    expect(text).not.toContain('/nothing')

    // The format itself: every line is a comment or a sample, and every histogram's buckets only grow.
    for (const each of text.trimEnd().split('\n'))
      expect(each).toMatch(/^(# (HELP|TYPE) \S+ .+|\w+(\{.*\})? [\d.e+-]+)$/)
    const buckets = text
      .split('\n')
      .filter((each) => each.startsWith(`${seconds}_bucket{${route},http_response_status_code="200"`))
    const counts = buckets.map((each) => Number(each.split(' ').at(-1)))
    expect(counts).toEqual([...counts].sort((a, b) => a - b))
    expect(metrics.respond().headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  })

  test('holds no secret, no client, no person and no key of the store', async () => {
    const metrics = prometheus()
    const token = await traffic(serve(metrics))
    for (const secret of [token, token.slice(0, 20), robot.secret, robot.id])
      expect(metrics.text()).not.toContain(secret)
  })

  test('strangers can’t make it grow: neither by methods and paths, nor by what they write into reasons', async () => {
    const metrics = prometheus()
    const { auth, send } = serve(metrics)
    const series = () => metrics.text().split('\n').length
    await send('/token', { method: 'BREW0' })
    await send('/authorize?client_id=x0')
    const before = series()
    for (let i = 1; i < 200; i++) {
      await send('/token', { method: `BREW${i}` })
      await send(`/token/${i}`)
      await send(`/authorize?client_id=x${i}&redirect_uri=https://${i}.example.com&state="\n${i}`)
      await send(`/authorize?client_id=https://evil${i}.example.com/`)
    }
    expect(series() - before).toBeLessThan(30)
    expect(metrics.text()).not.toContain('example.com')
    for (let i = 0; i < 5_000; i++) metrics.event({ type: `type-${i}` })
    expect(series()).toBeLessThan(1_500)
    expect(metrics.text()).toContain('otel_metric_overflow="true"} ')
    await auth.close()
  })
})

describe('OpenTelemetry', () => {
  const setUp = () => {
    const spans = new InMemorySpanExporter()
    const measured = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
    const reader = new PeriodicExportingMetricReader({ exporter: measured, exportIntervalMillis: 3_600_000 })
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] }))
    metricsApi.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }))
    propagation.setGlobalPropagator({
      inject() {},
      fields: () => ['traceparent'],
      extract(active, carrier, getter) {
        const [, traceId, spanId] = String(getter.get(carrier, 'traceparent') ?? '').split('-')
        if (!traceId || !spanId) return active
        return trace.setSpanContext(active, { traceId, spanId, traceFlags: 1, isRemote: true })
      },
    })
    return { spans, measured, reader }
  }
  afterEach(() => {
    for (const api of [context, trace, metricsApi, propagation]) api.disable()
  })

  test('a request is a span with the store’s operations below it, in the trace that the client began', async () => {
    const { spans } = setUp()
    const { auth, ask } = serve(openTelemetry())
    await auth.ready()
    spans.reset()
    const traceId = '0af7651916cd43dd8448eb211c80319c'
    await ask({}, { traceparent: `00-${traceId}-b7ad6b7169203331-01` })
    const all = spans.getFinishedSpans()
    const server = all.find(({ kind }) => kind === SpanKind.SERVER) ?? expect.fail('no span')
    expect(server.name).toBe('POST /token')
    expect(server.spanContext().traceId).toBe(traceId)
    expect(server.attributes).toEqual({
      'http.request.method': 'POST',
      'http.route': '/token',
      'url.scheme': 'http',
      'http.response.status_code': 200,
    })
    const store = all.filter(({ kind }) => kind === SpanKind.CLIENT)
    expect(store.length).toBeGreaterThan(0)
    for (const span of store) {
      expect(span.parentSpanContext?.spanId).toBe(server.spanContext().spanId)
      expect(Object.keys(span.attributes).every((name) => /^(db\.|countersign\.store\.)/.test(name))).toBe(true)
    }
    await auth.close()
  })

  test('measures by the conventions’ names, tells failures by their class, and no secret to anybody', async () => {
    const { spans, measured, reader } = setUp()
    const token = await traffic(serve(openTelemetry()))
    await reader.forceFlush()
    const metrics = measured.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics))
    expect(metrics.map(({ descriptor }) => [descriptor.name, descriptor.unit]).sort()).toEqual([
      ['countersign.events', '{event}'],
      ['countersign.gate.duration', 's'],
      ['db.client.operation.duration', 's'],
      ['http.server.request.duration', 's'],
    ])
    const failed = spans.getFinishedSpans().filter(({ status }) => status.code === SpanStatusCode.ERROR)
    expect(failed.map(({ name, attributes }) => [name, attributes['error.type']])).toContainEqual([
      'POST /token',
      '503',
    ])
    expect(failed.map(({ attributes }) => attributes['error.type'])).toContain('StoreUnavailable')
    const said = JSON.stringify([
      spans.getFinishedSpans().map(({ name, attributes, status, events }) => ({ name, attributes, status, events })),
      metrics,
    ])
    for (const secret of [token, token.slice(0, 20), robot.secret, robot.id]) expect(said).not.toContain(secret)
    await reader.shutdown()
  })

  test('without an SDK nothing is recorded, and everything works', async () => {
    await traffic(serve([openTelemetry(), prometheus()]))
  })
})

test('several hear the same; without telemetry the store is used as it is', async () => {
  const [one, other] = [prometheus(), prometheus()]
  await traffic(serve([one, other]))
  const counts = (text: string) =>
    text
      .split('\n')
      .filter((line) => line.includes('_count'))
      .sort()
  expect(counts(one.text())).toEqual(counts(other.text()))
  expect(counts(one.text()).length).toBeGreaterThan(3)
  await traffic(serve())
})

test('a server that only verifies is measured, too', async () => {
  const metrics = prometheus()
  const issuer = testIssuer()
  const resource = 'https://notes.example.com/mcp'
  const gated = resourceServer({ resource, issuers: [issuer], telemetry: metrics }).gate(
    '/mcp',
    () => new Response('in'),
  )
  const call = (token: string) => gated(new Request(resource, { headers: { Authorization: `Bearer ${token}` } }))
  const { token } = issuer.accessToken({ resource, subject: 'somebody-in-particular' })
  expect([(await call(token)).status, (await call('x')).status]).toEqual([200, 401])
  const text = metrics.text()
  expect(text).toMatch(/gate_duration_seconds_count\{.*admitted"\} 1/)
  expect(text).toMatch(/countersign_events_total\{type="access.refused",reason="\w+"\} 1/)
  expect(text).not.toContain('somebody')
})
