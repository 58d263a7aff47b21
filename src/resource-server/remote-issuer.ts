import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Clock } from '../events/clock.ts'
import type { Logger } from '../events/logger.ts'
import type { JsonObject } from '../identity/json.ts'
import type { Fetch } from './discovery.ts'

/** What is to be known of an issuer elsewhere, however its tokens are verified. */
export interface RemoteIssuerOptions<Upstream> {
  /** Audiences that stand for the resource, for an issuer that knows it by a name which is not its URL. */
  readonly audiences?: readonly string[]
  /**
   * Whether a token with these claims is its client's own, with no person behind it. Default: its subject is its client. An issuer may give such tokens
   * another subject (Entra, Auth0, Keycloak do): then it must be told here, or they pass for people's. @see RFC 9068 §2.2
   */
  readonly isClient?: (claims: JsonObject) => boolean
  /** Seconds that clocks may differ by; at most 300. Default 30. */
  readonly clockSkew?: number
  /** Checks and types the upstream claims that the issuer signs into its tokens, or tells when it is asked. */
  readonly claims?: StandardSchemaV1<unknown, Upstream>
  /** How many verified tokens are remembered. Default 16384. */
  readonly remembered?: number
  readonly fetch?: Fetch
  readonly clock?: Clock
  readonly logger?: Logger
}
