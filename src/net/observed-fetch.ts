import { methodAttribute, type Outcome, type Telemetry } from '../events/telemetry.ts'

/** Measures requests to providers, by their host; of the rest of the address nothing is told. The trace doesn't go on there. */
export const observedFetch =
  (fetch: typeof globalThis.fetch, telemetry: Telemetry): typeof globalThis.fetch =>
  (input, init) => {
    const { hostname, port, protocol } = new URL(input instanceof Request ? input.url : input)
    const method = methodAttribute(init?.method ?? (input instanceof Request ? input.method : 'GET'))
    return telemetry.observe(
      {
        metric: 'http.client.request.duration',
        name: method === '_OTHER' ? 'HTTP' : method,
        attributes: {
          'http.request.method': method,
          'server.address': hostname,
          'server.port': Number(port || (protocol === 'https:' ? 443 : 80)),
        },
      },
      () => fetch(input, init),
      outcome,
    )
  }

/** To who asked, a refusal is an error as well as a breakdown. @see OpenTelemetry semantic conventions, HTTP client span */
const outcome = ({ status }: Response): Outcome => ({
  attributes: { 'http.response.status_code': status, ...(status >= 400 && { 'error.type': String(status) }) },
  failed: status >= 400,
})
