import { httpOutcome, methodAttribute, type Telemetry } from '../events/telemetry.ts'

/** Measures requests to providers, by their host; of the rest of the address nothing is told. The trace doesn't go on there. */
export const observedFetch =
  (fetch: typeof globalThis.fetch, telemetry: Telemetry): typeof globalThis.fetch =>
  (input, init) => {
    const { hostname } = new URL(input instanceof Request ? input.url : input)
    const method = methodAttribute(init?.method ?? (input instanceof Request ? input.method : 'GET'))
    return telemetry.observe(
      {
        metric: 'http.client.request.duration',
        name: method === '_OTHER' ? 'HTTP' : method,
        attributes: { 'http.request.method': method, 'server.address': hostname },
      },
      () => fetch(input, init),
      httpOutcome,
    )
  }
