import type { UpstreamClaims } from '../identity/access-token.ts'
import type { JsonObject } from '../identity/json.ts'
import { statedAuthTime } from '../policy/sign-in.ts'
import type { UpstreamContext } from './context.ts'
import { type ClaimsSchema, type HostProvider, type Provider, type SignIn, SignInRefused } from './provider.ts'

/** Who the host says is signed in. */
export interface HostIdentity {
  /** The host's own id of the person: stable, and never given to anybody else. Not a name that can be renamed. */
  readonly subject: string
  /** When the person authenticated, seconds since the epoch. Without it, a request for that (`prompt=login`, `max_age`) can't be met. */
  readonly authTime?: number
  /** Whatever handlers should know: `name`, `email`, `email_verified`, `groups`, `roles` and others. */
  readonly claims?: JsonObject
}

export interface HostSignIn {
  /** Where the host's own sign-in must send the browser afterwards. */
  readonly returnTo: string
  /** The person must prove again who they are, though they may be signed in. */
  readonly reauthenticate: boolean
}

/** Answers who is signed in by the request's own cookies, or a response that signs in and then returns to `returnTo`. */
export type IdentifyHostSession = (
  request: Request,
  signIn: HostSignIn,
) => HostIdentity | Response | Promise<HostIdentity | Response>

export interface HostSessionOptions<Claims = UpstreamClaims> {
  /** Default: `host`. */
  readonly id?: string
  /** What people read on the sign-in page. Default: `This site`. */
  readonly name?: string
  /** Who vouches for the subjects. Default: `upstream/` and the id, below this server's own issuer. */
  readonly issuer?: string
  readonly claims?: ClaimsSchema<Claims>
}

/** The users that a host has already: it knows from its own cookies who is signed in. */
export const hostSession = <Claims = UpstreamClaims>(
  identify: IdentifyHostSession,
  { id = 'host', name = 'This site', issuer, claims }: HostSessionOptions<Claims> = {},
): Provider<Claims> => ({
  id,
  name,
  ...(claims === undefined ? {} : { claims }),
  open: (context) => openHost(identify, issuer ?? `${context.issuer.replace(/\/$/, '')}/upstream/${id}`, context),
})

const openHost = (identify: IdentifyHostSession, issuer: string, { clock }: UpstreamContext): HostProvider => ({
  kind: 'host',
  async identify(request, options) {
    const answer = await identify(request, options)
    if (answer instanceof Response) return answer
    // What a session of the host holds is the host's business: it is checked here, because a wrong subject is a wrong person.
    if (typeof answer?.subject !== 'string' || answer.subject === '') {
      throw new TypeError('hostSession: expected a Response, or an identity with a subject that is a non-empty string')
    }
    const { subject, claims = {} } = answer
    const now = clock.now()
    const authTime = statedAuthTime(answer.authTime, now)
    if (options.reauthenticate && authTime === undefined) {
      throw new SignInRefused('interaction_required', { detail: 'the host did not say when the person authenticated' })
    }
    const signIn: SignIn = {
      issuer,
      subject,
      authTime: authTime ?? Math.floor(now / 1000),
      ...(authTime === undefined ? { authTimeAssumed: true } : {}),
      said: [{ source: 'host', at: now, claims: structuredClone(claims) }],
    }
    return signIn
  },
})
