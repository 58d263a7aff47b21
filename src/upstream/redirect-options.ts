import type { UpstreamClaims } from '../identity/access-token.ts'
import type { JsonObject } from '../identity/json.ts'
import { type AdmissionOptions, admitWith } from './admission.ts'
import type { ClientAuthenticationOptions } from './client-credential.ts'
import type { ClaimsSchema, Provider } from './provider.ts'
import { type RevalidationOptions, revalidationOf } from './revalidation.ts'

/** What every provider takes to which the browser is sent. */
export interface RedirectOptions<Claims = UpstreamClaims>
  extends RevalidationOptions,
    ClientAuthenticationOptions,
    AdmissionOptions<Claims> {
  /** Part of the redirect URI, and `upstream.provider` for handlers. */
  readonly id?: string
  /** What people read on the sign-in page. */
  readonly name?: string
  /** This server's client id at the provider. */
  readonly clientId: string
  /** What is asked for there. */
  readonly scopes?: readonly string[]
  /** Types and checks what the provider says. Who does not satisfy it can't sign in. */
  readonly claims?: ClaimsSchema<Claims>
  /** Claims in standard names, made of all that the provider said. They are added; what was said stays. */
  readonly derive?: (said: JsonObject) => JsonObject
  /** Added to each authorization request, such as `prompt`, `audience` or `access_type`. */
  readonly authorizationParameters?: Readonly<Record<string, string>>
}

/** What of them is the same for all who read what the provider says. @throws TypeError */
export const describedProvider = <Claims>(
  id: string,
  name: string,
  options: RedirectOptions<Claims>,
): Omit<Provider<Claims>, 'open'> => ({
  id,
  name,
  ...(options.claims === undefined ? {} : { claims: options.claims }),
  ...(options.derive === undefined ? {} : { derive: options.derive }),
  ...(options.admit === undefined ? {} : { admit: admitWith(options.admit) }),
  ...revalidationOf(id, options),
})
