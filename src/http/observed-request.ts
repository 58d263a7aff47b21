import { httpOutcome, methodAttribute, type Telemetry } from '../events/telemetry.ts'

/** Measures a request to one of the server's own routes. What is none is not measured: strangers choose paths. */
export const observedRequest = (
  telemetry: Telemetry,
  { method, url, headers }: Request,
  handles: (pathname: string) => boolean,
  answer: () => Promise<Response | undefined>,
): Promise<Response | undefined> => {
  const { pathname, protocol } = new URL(url)
  if (!handles(pathname)) return answer()
  const known = methodAttribute(method)
  const name = `${known === '_OTHER' ? 'HTTP' : known} ${pathname}`
  const attributes = { 'http.request.method': known, 'http.route': pathname, 'url.scheme': protocol.slice(0, -1) }
  return telemetry.observe(
    { metric: 'http.server.request.duration', name, attributes, carrier: headers },
    answer,
    (response) => (response ? httpOutcome(response) : {}),
  )
}
