import type { Clock } from '../events/clock.ts'

export interface RefreshedValueOptions {
  readonly clock: Clock
  /** How long a value is used, in milliseconds. */
  readonly freshFor: number
  /** How long a failure is remembered, in milliseconds. */
  readonly retryAfter: number
}

/**
 * A value that is loaded when it is first needed, and again when it is old: one load at a time, whoever asks. An old value is better than none:
 * where loading again fails, it is used on.
 */
export const refreshedValue = <T>(load: () => Promise<T>, { clock, freshFor, retryAfter }: RefreshedValueOptions) => {
  let held: { readonly value: T; readonly until: number } | undefined
  let failed: { readonly error: unknown; readonly until: number } | undefined
  let loading: Promise<T> | undefined

  const reload = async (): Promise<T> => {
    try {
      const value = await load()
      held = { value, until: clock.now() + freshFor }
      failed = undefined
      return value
    } catch (error) {
      failed = { error, until: clock.now() + retryAfter }
      if (!held) throw error
      held = { value: held.value, until: failed.until }
      return held.value
    } finally {
      loading = undefined
    }
  }

  return async (): Promise<T> => {
    const now = clock.now()
    if (held && held.until > now) return held.value
    if (!held && failed && failed.until > now) throw failed.error
    loading ??= reload()
    return loading
  }
}
