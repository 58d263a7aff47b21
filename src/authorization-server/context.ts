import type { Audit } from '../events/audit.ts'
import type { Clock } from '../events/clock.ts'
import type { Logger } from '../events/logger.ts'
import type { Random } from '../events/random.ts'
import type { AccessToken } from '../identity/access-token.ts'
import type { TokenVerifier } from '../identity/verifier.ts'
import type { KeyRing } from '../keys/key-ring.ts'
import type { Resource } from '../oauth/resource.ts'
import type { Client } from '../records/client.ts'
import type { Records } from '../records/records.ts'
import type { Accounts } from '../upstream/accounts.ts'
import type { Custody } from '../upstream/custody.ts'
import type { NamedProvider } from '../upstream/provider.ts'
import type { AssertionKeyLookup } from './assertion-keys.ts'
import type { TrustedIssuers } from './assertion-options.ts'
import type { ClientKeyLookup } from './client-keys.ts'
import type { ClientMetadataDocuments } from './client-metadata-documents.ts'
import type { ServerDpop } from './server-dpop.ts'

/** All that an endpoint needs, made once by the composition. Endpoints are functions of it and of a request. */
export interface ServerContext {
  /** Byte for byte what clients compare. */
  readonly issuer: string
  /** Absolute URLs below the issuer. */
  readonly endpoints: Endpoints
  /** Never empty. */
  readonly resources: readonly Resource[]
  readonly providers: readonly NamedProvider[]
  readonly accounts: Accounts
  /** The languages of the pages. */
  readonly locales: readonly string[]
  /** E-mail domain to the id of the provider where its people sign in. */
  readonly emailDomains: ReadonlyMap<string, string>
  readonly custody: Custody
  readonly records: Records
  readonly keys: KeyRing
  readonly dpop: ServerDpop
  readonly lifetimes: Lifetimes
  readonly registration: RegistrationPolicy
  /** Where they are not the default. */
  readonly limits?: Limits
  /** Whether authorization requests must be sent ahead, by every client. */
  readonly requirePushedRequests?: boolean
  /** A backup was restored: until then (milliseconds since the epoch) refresh tokens may be so many refreshes ahead of the store. */
  readonly restored?: { readonly ahead: number; readonly until: number }
  /** The clients of the configuration, by id. */
  readonly configuredClients: ReadonlyMap<string, Client>
  /** The keys of clients that the operator knows, where these publish them: asked as providers are. */
  readonly knownClientKeys: ClientKeyLookup
  /** Absent where client ids that are URLs are not taken. */
  readonly clientMetadataDocuments?: ClientMetadataDocuments
  /** Whose assertions are taken. Absent where nobody's are. */
  readonly assertions?: Assertions
  /** Private-use redirect schemes that are allowed besides the known ones. */
  readonly privateSchemes: readonly string[]
  /** The upstream claims that access tokens carry, besides `iss` and `sub`. */
  readonly tokenClaims: readonly string[]
  readonly audit: Audit
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

/** Of a server that answers requests. */
export interface ServingContext extends ServerContext {
  /** Remembers what this server's access tokens say, for the gate and for who asks about them. */
  readonly verifier: OwnVerifier
}

/** Of this server's own access tokens. */
export interface OwnVerifier extends TokenVerifier {
  /**
   * What a token says now, for who may ask about it without presenting it: no proof of its key is asked for. Of what is remembered for the gate, and
   * under the same bound.
   * @param serves whether tokens for a resource are the business of who asks
   * @throws TokenInvalid, StoreUnavailable, VerifierUnavailable, or another error where the store does not answer in time
   */
  inspect(token: string, serves: (resource: string) => boolean): Promise<AccessToken>
  /** The store's clock, as the gate's own reading told it of late. Undefined where there was none. */
  storeTime(): number | undefined
  close(): void
}

export interface Assertions extends TrustedIssuers {
  readonly keysOf: AssertionKeyLookup
}

export interface Endpoints {
  readonly authorize: string
  readonly token: string
  /** Where clients send authorization requests ahead. */
  readonly pushed: string
  readonly register: string
  readonly revoke: string
  readonly introspect: string
  readonly jwks: string
  /** Pages of an interaction. */
  readonly consent: string
  readonly signIn: string
  /** Where people see which apps they have connected. */
  readonly account: string
  /** Followed by `/` and a provider's id. */
  readonly callback: string
  /** Where providers tell of logouts; followed by `/` and a provider's id. */
  readonly logout: string
}

/** Seconds. */
export interface Lifetimes {
  readonly code: number
  /** Of an authorization request that was sent ahead. */
  readonly pushedRequest: number
  /** A resource may have its own. */
  readonly accessToken: number
  /** Of a refresh token that is not used. */
  readonly refreshToken: number
  /** Of a grant, whatever is refreshed until then. */
  readonly grant: number
  /** How long a superseded refresh token is still answered, with the current one. */
  readonly refreshGrace: number
  readonly interaction: number
  readonly browserSession: number
  /** Of a registration that was never used. */
  readonly unusedClient: number
}

/** How often in ten minutes. */
export interface Limits {
  /** How often a client may ask for tokens by itself: `client_credentials`, exchange, assertions. Default 30,000. */
  readonly tokensPerClient?: number | undefined
  /** Authorization requests and sign-ins at providers, each by itself, from one address; where addresses are not known ten times as many from all. Default 3,000. */
  readonly requestsPerAddress?: number | undefined
  /** Codes that are issued for one account. Default 3,000. */
  readonly codesPerAccount?: number | undefined
}

export const defaultLifetimes: Lifetimes = {
  code: 60,
  pushedRequest: 90,
  accessToken: 600,
  refreshToken: 30 * 86_400,
  grant: 365 * 86_400,
  refreshGrace: 300,
  interaction: 1_800,
  browserSession: 12 * 3_600,
  unusedClient: 30 * 86_400,
}

export interface RegistrationPolicy {
  /** Registrations in an hour, per address and in all. */
  readonly perAddress: number
  readonly total: number
  /** SHA-256 of the tokens of which a registration must bring one, base64url. Absent: anybody may register. */
  readonly initialAccessTokens?: readonly string[]
}

/** Hosted clients register from a few addresses for each of their people, a whole company on its first day. */
export const defaultRegistrationPolicy: RegistrationPolicy = { perAddress: 500, total: 5_000 }

/** What is known of a request beside the request itself. */
export interface Arrival {
  /** The address of the peer, as the connection has it; undefined where the host doesn't say. */
  readonly address?: string
}

/** A request of a client. */
export interface ClientArrival extends Arrival {
  /** The client of the grant that it is about: then a person stands behind it. */
  readonly grantOf?: string | undefined
}
