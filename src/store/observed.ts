import type { Outcome, Telemetry } from '../events/telemetry.ts'
import type { Store } from './store.ts'

/** A store whose operations are measured. Which keys, nobody is told: they are of people and clients. */
export const observedStore = (store: Store, telemetry: Telemetry): Store => {
  const attributes = { 'db.system.name': store.system ?? 'other_sql' }
  const observe = <T>(name: string, run: () => Promise<T>, outcome?: (result: T) => Outcome): Promise<T> =>
    telemetry.observe(
      { metric: 'db.client.operation.duration', name, attributes: { ...attributes, 'db.operation.name': name } },
      run,
      outcome,
    )
  return {
    location: store.location,
    ...(store.system !== undefined && { system: store.system }),
    get: (keys) => observe('get', () => store.get(keys)),
    list: (prefix, options) => observe('list', () => store.list(prefix, options)),
    commit: (batch) =>
      observe(
        'commit',
        () => store.commit(batch),
        // Somebody was faster: no fault, and worth a line on a dashboard.
        ({ committed }) => ({ attributes: { 'countersign.store.committed': String(committed) } }),
      ),
    increment: (key, by, ttl) => observe('increment', () => store.increment(key, by, ttl)),
    watch: (listener) => store.watch(listener),
    close: () => store.close(),
  }
}
