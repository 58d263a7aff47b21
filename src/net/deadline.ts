import { GuardedFetchError } from './guarded-fetch-error.ts'

export interface Deadline {
  /** Aborted with a `GuardedFetchError` when the time is over. */
  readonly signal: AbortSignal
  /** Begins a part of the request, which has a time of its own. */
  enter(part: string): void
  /** The promise, or the end of the time if that comes first. */
  bound<T>(promise: Promise<T>): Promise<T>
  end(): void
}

/** @param whole, phase in milliseconds */
export const createDeadline = ({ whole, phase }: { readonly whole: number; readonly phase: number }): Deadline => {
  const controller = new AbortController()
  const { signal } = controller
  const late = (part: string) => controller.abort(new GuardedFetchError('unreachable', `${part} took too long`))
  const wholeTimer = setTimeout(late, whole, 'the request')
  let phaseTimer: NodeJS.Timeout | undefined
  return {
    signal,
    enter(part) {
      clearTimeout(phaseTimer)
      phaseTimer = setTimeout(late, phase, part)
    },
    bound: (promise) =>
      new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        promise.then(resolve, reject)
      }),
    end() {
      clearTimeout(wholeTimer)
      clearTimeout(phaseTimer)
      // Whatever still hangs on it (a name server, a socket) ends too.
      controller.abort(new GuardedFetchError('unreachable', 'the request has ended'))
    },
  }
}
