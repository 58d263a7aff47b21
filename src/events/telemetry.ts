/**
 * Receives what a server does, as measurements: `prometheus()`, `openTelemetry()`, or one of your own. Names are those of OpenTelemetry's
 * semantic conventions, where they have one. Nothing in it names a person, a client or a token, and every attribute has few values.
 * @see https://opentelemetry.io/docs/specs/semconv/
 */
export interface Telemetry {
  /** Runs an operation and watches it. It must answer what `run` answers and throw what it throws, and throw nothing of its own. */
  observe<T>(operation: Operation, run: () => Promise<T>, outcome?: (result: T) => Outcome): Promise<T>
  /** Something was written to the audit log. */
  event(attributes: Attributes): void
}

export type Attributes = Readonly<Record<string, string | number>>

export interface Operation {
  /** The histogram that it counts in; seconds. */
  readonly metric: keyof typeof metrics
  /** Of its span. */
  readonly name: string
  /** What is known before it ends. */
  readonly attributes: Attributes
  /** The headers of a request that came in: a trace may go on from there. */
  readonly carrier?: { get(name: string): string | null } | undefined
}

/** What is known at its end. `failed`: the fault is ours, or of what we asked. */
export interface Outcome {
  readonly attributes?: Attributes
  readonly failed?: boolean
}

/** Every histogram there is: who makes the operations that count in it, and what it is. */
export const metrics = {
  'http.server.request.duration': { kind: 'server', help: 'Requests to the authorization server' },
  'countersign.gate.duration': { kind: 'internal', help: 'Decisions at the gates of protected resources' },
  'db.client.operation.duration': { kind: 'client', help: 'Operations of the store' },
  'http.client.request.duration': { kind: 'client', help: 'Requests to identity providers' },
} as const

/** The counter of audit events. */
export const eventsMetric = { name: 'countersign.events', help: 'Audit events' } as const

/** Upper bounds in seconds. @see OpenTelemetry semantic conventions, http.server.request.duration */
export const durationBounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10] as const

/** Undefined where there is nothing to tell it to. */
export const composed = (telemetry: Telemetry | readonly Telemetry[] | undefined): Telemetry | undefined => {
  const all = telemetry === undefined ? [] : 'observe' in telemetry ? [telemetry] : telemetry
  const [first, ...others] = all
  return others.reduce<Telemetry | undefined>(
    (outer, inner) =>
      outer && {
        observe: (operation, run, outcome) =>
          outer.observe(operation, () => inner.observe(operation, run, outcome), outcome),
        event(attributes) {
          outer.event(attributes)
          inner.event(attributes)
        },
      },
    first,
  )
}

const known = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH', 'QUERY'])

/** A method as an attribute: clients may send any word. */
export const methodAttribute = (method: string): string => (known.has(method) ? method : '_OTHER')

/** Of an answer by HTTP. */
export const httpOutcome = ({ status }: { readonly status: number }): Outcome => ({
  attributes: { 'http.response.status_code': status, ...(status >= 500 && { 'error.type': String(status) }) },
  failed: status >= 500,
})

/** What an audit event is as attributes: its reason only where that is a word of ours, for texts may hold what a stranger wrote. */
export const eventAttributes = (event: { readonly type: string; readonly reason?: unknown }): Attributes => {
  const { type, reason } = event
  if (reason === undefined) return { type }
  return { type, reason: typeof reason === 'string' && /^[a-z][a-z_]{0,39}$/.test(reason) ? reason : 'other' }
}

/** The value of `error.type`: the name of an error's class, never its text. */
export const errorType = (error: unknown): string => (error instanceof Error ? error.name.slice(0, 60) : '_OTHER')
