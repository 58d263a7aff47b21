import type { Audit } from '../events/audit.ts'
import type { Clock } from '../events/clock.ts'
import type { Logger } from '../events/logger.ts'
import type { Random } from '../events/random.ts'
import type { Records } from '../records/records.ts'

/** What a provider gets of the server. */
export interface UpstreamContext {
  readonly issuer: string
  readonly records: Records
  readonly clock: Clock
  readonly random: Random
  readonly audit: Audit
  readonly logger: Logger
  readonly fetch: typeof fetch
}
