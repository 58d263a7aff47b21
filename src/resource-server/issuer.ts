import type { AccessToken, UpstreamClaims } from '../identity/access-token.ts'
import { TokenInvalid } from '../identity/verifier.ts'
import { ConfigurationError } from '../oauth/configuration-error.ts'

/** Verifies the tokens of one issuer. */
export interface IssuerVerifier<Upstream = UpstreamClaims> {
  /** Byte for byte the `iss` of its tokens. */
  readonly issuer: string
  /**
   * @param resource the resource that the token was presented to
   * @param jkt thumbprint of the key that was proven with the request; a token that is bound to another, or to none, is invalid then
   * @throws TokenInvalid 401: the token is not good, and a new one may be
   * @throws VerifierUnavailable 503: our own trouble, or the issuer's
   */
  verify(token: string, resource: string, jkt?: string): Promise<AccessToken<Upstream>>
  /**
   * The token, where it was verified before and nothing has to be looked up again: what `verify` would answer without waiting. The caller
   * checks what it is bound to.
   */
  recall?(token: string, resource: string): AccessToken<Upstream> | undefined
  /** Whether a token is of this issuer, for tokens that don't say so in an `iss`. */
  recognises?(token: string): boolean
  /** False where clients can't get its tokens by themselves: then the resource's metadata does not name it. */
  readonly authorizationServer?: false
  /** @throws ConfigurationError if it must not stand in front of this resource */
  check?(resource: string): void
  /**
   * Fetches what verification needs. Rejects with `VerifierUnavailable` if that can't be had now; later calls try again. Rejects with
   * `ConfigurationError` if no token of the issuer could satisfy what is configured.
   */
  ready?(): Promise<void>
}

/** One verifier of several: each token goes to exactly the one whose `iss` it names, and no other is asked. */
export const verifierOf = <Upstream>(
  issuers: readonly IssuerVerifier<Upstream>[],
): Pick<IssuerVerifier<Upstream>, 'verify' | 'recall'> => {
  const [only] = issuers
  if (only && issuers.length === 1) return only
  const byIssuer = new Map(issuers.map((verifier) => [verifier.issuer, verifier]))
  if (byIssuer.size !== issuers.length) throw new ConfigurationError('issuers', 'each issuer once')
  return {
    async verify(token, resource, jkt) {
      const verifier = issuers.find((each) => each.recognises?.(token)) ?? byIssuer.get(claimedIssuer(token))
      if (!verifier) throw new TokenInvalid('unknown_issuer')
      return verifier.verify(token, resource, jkt)
    },

    recall(token, resource) {
      // Only who verified a token remembers it, whole: its issuer need not be read again.
      for (const verifier of issuers) {
        const known = verifier.recall?.(token, resource)
        if (known) return known
      }
      return undefined
    },
  }
}

/** Only to choose who verifies it: nothing is believed here. */
const claimedIssuer = (token: string): string => {
  try {
    const payload = token.split('.')[1] ?? ''
    const json = atob(payload.replace(/-/g, '+').replace(/_/g, '/'))
    const { iss } = JSON.parse(json) as { iss?: unknown }
    if (typeof iss === 'string') return iss
  } catch {
    // Not a JWT: no issuer that we know made it.
  }
  throw new TokenInvalid('malformed')
}
