import { httpOutcome, methodAttribute, type Telemetry } from '../events/telemetry.ts'
import { pathOf } from './path.ts'

/** Measures a request to one of the server's own routes. What is none is not measured: strangers choose paths. */
export const observedRequest = (
  telemetry: Telemetry,
  { method, url, headers }: Request,
  handles: (pathname: string) => boolean,
  answer: () => Promise<Response | undefined>,
): Promise<Response | undefined> => {
  const pathname = pathOf(url)
  if (!handles(pathname)) return answer()
  const known = methodAttribute(method)
  const name = `${known === '_OTHER' ? 'HTTP' : known} ${pathname}`
  const attributes = {
    'http.request.method': known,
    'http.route': pathname,
    'url.scheme': url.slice(0, url.indexOf(':')),
  }
  return telemetry.observe(
    { metric: 'http.server.request.duration', name, attributes, carrier: headers },
    answer,
    (response) => (response ? httpOutcome(response) : {}),
  )
}
