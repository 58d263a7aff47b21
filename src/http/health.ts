import { pathOf } from './path.ts'

/** Where the probes of an orchestrator are answered, as absolute paths. */
export interface HealthPaths {
  /** 200 as long as the process answers at all; default `/healthz`. */
  readonly live?: string | undefined
  /** 200 while requests can be served: the store answers, and `close()` was not called. Default `/readyz`. */
  readonly ready?: string | undefined
}

export interface HealthOptions {
  readonly paths: HealthPaths | false
  /** True once this process is about to stop. */
  readonly leaving: () => boolean
  /** Rejects where requests can't be served. It is asked once at a time, and once a second at most. */
  readonly check: () => Promise<unknown>
  readonly now: () => number
}

export interface Health {
  handles(pathname: string): boolean
  respond(request: Request): Promise<Response | undefined>
}

/**
 * Probes say yes or no, and nothing else: no reason, no version, no name. The provider's state is none of their business: without it
 * sessions go on, and a process that is taken out of service for it helps nobody.
 */
export const createHealth = ({ paths, leaving, check, now }: HealthOptions): Health => {
  const { live = '/healthz', ready = '/readyz' } = paths === false ? {} : paths
  const known = new Set(paths === false ? [] : [live, ready])
  let asked: { readonly at: number; readonly answer: Promise<boolean> } | undefined

  const isReady = (): Promise<boolean> => {
    const age = asked === undefined ? Number.POSITIVE_INFINITY : now() - asked.at
    // Anybody may ask; the store is not asked as often.
    if (asked === undefined || age < 0 || age >= freshFor) {
      asked = {
        at: now(),
        answer: within(
          patience,
          check().then(
            () => true,
            () => false,
          ),
        ),
      }
    }
    return asked.answer
  }

  return {
    handles: (pathname) => known.has(pathname),
    async respond(request) {
      const pathname = pathOf(request.url)
      if (!known.has(pathname)) return undefined
      if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, request, { Allow: 'GET, HEAD' })
      const good = pathname === live || (!leaving() && (await isReady()))
      return answer(good ? 200 : 503, request, good ? {} : { 'Retry-After': '1' })
    },
  }
}

const answer = (status: number, { method }: Request, headers: Record<string, string>): Response => {
  const words = status === 200 ? 'ok\n' : status === 405 ? 'GET, HEAD\n' : 'unavailable\n'
  return new Response(method === 'HEAD' ? null : words, {
    status,
    headers: { 'Content-Type': 'text/plain', 'Cache-Control': 'no-store', ...headers },
  })
}

/** Milliseconds, both. */
const freshFor = 1_000
const patience = 2_000

const within = async (milliseconds: number, promise: Promise<boolean>): Promise<boolean> => {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), milliseconds)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
