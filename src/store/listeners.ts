/** The watchers of one store handle. */
export interface Listeners {
  add(listener: (message: string) => void): () => void
  tell(messages: readonly string[]): void
  clear(): void
  readonly size: number
}

export function listeners(): Listeners {
  // By registration, not by function: the same function may watch twice.
  const registered = new Set<{ readonly hear: (message: string) => void }>()
  return {
    add(listener) {
      const registration = { hear: listener }
      registered.add(registration)
      return () => {
        registered.delete(registration)
      }
    },
    tell(messages) {
      for (const message of messages) {
        for (const registration of registered) {
          queueMicrotask(() => {
            if (registered.has(registration)) registration.hear(message)
          })
        }
      }
    },
    clear: () => registered.clear(),
    get size() {
      return registered.size
    },
  }
}
