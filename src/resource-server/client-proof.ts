import type { JWK } from 'jose'
import type { Clock } from '../events/clock.ts'
import { clientAssertionAlgorithms, clientAssertionType } from '../oauth/client-assertion.ts'
import { ConfigurationError } from '../oauth/configuration-error.ts'
import { jose } from '../oauth/jose.ts'

/** The client that a resource server is at an issuer: by a secret, or by a key. */
export interface ResourceClient {
  readonly clientId: string
  readonly clientSecret?: string
  /** In place of the secret: a private key (JWK), whose public half the issuer knows. */
  readonly clientKey?: JWK
}

export interface ClientProof {
  readonly headers: Readonly<Record<string, string>>
  readonly parameters: Readonly<Record<string, string>>
}

/**
 * Makes what shows an issuer who asks, anew for each request.
 * @throws ConfigurationError
 * @see RFC 6749 §2.3.1, RFC 7523 §2.2
 */
export const createClientProof = (
  { clientId, clientSecret, clientKey }: ResourceClient,
  issuer: string,
  clock: Clock,
): (() => Promise<ClientProof>) => {
  if (!clientId || Boolean(clientSecret) === Boolean(clientKey)) {
    throw new ConfigurationError(
      'clientSecret',
      'the id of a client, and its secret or its key: nobody else may introspect',
    )
  }
  if (!clientKey) {
    const headers = basicOf(clientId, clientSecret ?? '')
    return async () => ({ headers, parameters: {} })
  }
  const algorithm = algorithmOf(clientKey)
  const key = once(async () => (await jose()).importJWK(clientKey, algorithm))
  return async () => {
    const { SignJWT } = await jose()
    const now = Math.floor(clock.now() / 1000)
    const assertion = await new SignJWT({ jti: crypto.randomUUID(), iat: now, exp: now + assertionLife })
      .setProtectedHeader({ alg: algorithm, ...(clientKey.kid === undefined ? {} : { kid: clientKey.kid }) })
      .setIssuer(clientId)
      .setSubject(clientId)
      .setAudience(issuer)
      .sign(await key())
    const parameters = { client_assertion_type: clientAssertionType, client_assertion: assertion, client_id: clientId }
    return { headers: {}, parameters }
  }
}

/** Seconds. */
const assertionLife = 60

const algorithmOf = ({ kty, alg, d }: JWK): string => {
  const algorithm = alg ?? usualAlgorithms.get(String(kty))
  if (d === undefined || !clientAssertionAlgorithms.some((each) => each === algorithm) || algorithm === undefined) {
    throw new ConfigurationError('clientKey', `a private key for ${clientAssertionAlgorithms.join(', ')}, as a JWK`)
  }
  return algorithm
}

const usualAlgorithms: ReadonlyMap<string, string> = new Map([
  ['EC', 'ES256'],
  ['OKP', 'EdDSA'],
  ['RSA', 'RS256'],
])

const once = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

/** @see RFC 6749 §2.3.1: both are form-encoded before they are joined */
const basicOf = (id: string, secret: string): { readonly Authorization: string } => {
  const encoded = `${encodeURIComponent(id)}:${encodeURIComponent(secret)}`
  return { Authorization: `Basic ${btoa(encoded)}` }
}
