import { type Clock, systemClock } from '../events/clock.ts'
import { TokenInvalid } from '../identity/verifier.ts'
import { ConfigurationError } from '../oauth/configuration-error.ts'
import { isLoopbackHost } from '../oauth/loopback.ts'
import { digestOf, type HandIssued, handIssuedToken, sameDigest } from './hand-issued.ts'
import type { IssuerVerifier } from './issuer.ts'

export interface StaticTokensOptions {
  /** What stands as the issuer of all of them. Default `urn:countersign:static`. */
  readonly issuer?: string
  readonly clock?: Clock
}

/**
 * Takes the tokens that are written here, for development and tests: they are in clear, and end only when they are taken out. A resource that others
 * can reach refuses to start with them; API keys are for that.
 * @param tokens by the token itself
 */
export const staticTokens = (
  tokens: Readonly<Record<string, HandIssued & { readonly clientId: string }>>,
  { issuer = 'urn:countersign:static', clock = systemClock }: StaticTokensOptions = {},
): IssuerVerifier => {
  const entries = Object.entries(tokens)
  for (const [token] of entries) {
    if (!bearerForm.test(token)) throw new ConfigurationError('tokens', 'tokens of letters, digits and -._~+/ alone')
  }
  const known = Promise.all(entries.map(async ([token, facts]) => ({ digest: await digestOf(token), facts })))
  return {
    issuer,
    authorizationServer: false,
    check: onLoopbackOnly('staticTokens'),
    recognises: (token) => Object.hasOwn(tokens, token),

    async verify(token, resource) {
      const digest = await digestOf(token)
      const found = (await known).filter((each) => sameDigest(each.digest, digest))[0]?.facts
      const now = clock.now()
      if (!found) throw new TokenInvalid('revoked')
      if (found.expiresAt !== undefined && found.expiresAt * 1000 <= now) throw new TokenInvalid('expired')
      return handIssuedToken(token, resource, issuer, now, found)
    },
  }
}

export interface DevelopmentTokensOptions extends StaticTokensOptions {
  /** What everybody may do. */
  readonly scopes?: readonly string[]
}

/**
 * Takes anybody's word for who they are, for development: the token `alice` is the person `alice`. A resource that others can reach refuses to start
 * with it.
 */
export const developmentTokens = ({
  issuer = 'urn:countersign:development',
  scopes = [],
  clock = systemClock,
}: DevelopmentTokensOptions = {}): IssuerVerifier => ({
  issuer,
  authorizationServer: false,
  check: onLoopbackOnly('developmentTokens'),
  recognises: (token) => name.test(token),

  async verify(token, resource) {
    if (!name.test(token)) throw new TokenInvalid('malformed')
    return handIssuedToken(token, resource, issuer, clock.now(), { subject: token, clientId: 'development', scopes })
  },
})

const onLoopbackOnly =
  (verifier: string) =>
  (resource: string): void => {
    if (isLoopbackHost(new URL(resource).hostname)) return
    throw new ConfigurationError('issuers', `no ${verifier}(), since \`resource\` is not on loopback`)
  }

/** Without a dot: no JWT is anybody's name. */
const name = /^[A-Za-z0-9_-]{1,64}$/
const bearerForm = /^[A-Za-z0-9\-._~+/]+=*$/
