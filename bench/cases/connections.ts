import type { LoadClient } from '../harness/load.ts'

export const CONNECTIONS = 8

/** So many connections, each with the same or its own. */
export const connections = (make: (index: number) => LoadClient): LoadClient[] =>
  Array.from({ length: CONNECTIONS }, (_, index) => make(index))

/** One that sends forms to a path, and looks at what comes back. */
export function forms(
  path: string,
  headers: Readonly<Record<string, string>>,
  form: () => Readonly<Record<string, string>>,
  accept: (answer: Readonly<Record<string, unknown>>) => boolean,
): LoadClient {
  const all = { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json', ...headers }
  return {
    next: () => ({ path, headers: all, body: new URLSearchParams(form()).toString() }),
    accept(status, body) {
      if (status !== 200 || !accept(JSON.parse(body))) throw new Error(`${path}: ${status} ${body.slice(0, 500)}`)
    },
  }
}

/** A JWT has three parts: a peer that hands out something cheaper isn't compared with. */
export const isJwt = (token: unknown): boolean => String(token).split('.').length === 3
