import type { Endpoints, ServingContext } from '../authorization-server/context.ts'
import type { Logger } from '../events/logger.ts'
import type { Branding } from './branding.ts'

/** What the routes are made of: all that is known before anything is opened. */
export interface RoutesOptions {
  readonly issuer: string
  readonly endpoints: Endpoints
  readonly providerIds: readonly string[]
  readonly branding: Branding
  readonly logger: Logger
  /** Where this fails, it is our own trouble: 503. */
  readonly open: () => Promise<ServingContext>
}

/** Of what people see, by what is there. */
export type PersonPath = 'authorize' | 'consent' | 'account' | 'signIn' | { readonly callbackOf: string }
