import { type AccessToken, createAccessToken } from '../identity/access-token.ts'
import { createTokenMemory } from '../identity/token-memory.ts'
import { TokenInvalid, type TokenVerifier, VerifierUnavailable } from '../identity/verifier.ts'
import { sameResource } from '../oauth/resource.ts'
import { grantRef } from '../records/grant.ts'
import type { ServerContext } from './context.ts'
import { createLiveness } from './liveness.ts'
import { readSignedAccessToken, type SignedAccessToken } from './signed-access-token.ts'

export interface OwnVerifier extends TokenVerifier {
  close(): void
}

/**
 * After this a remembered token is looked up again: the store may have newer claims. Well below the time that the revocation log reaches back,
 * so that a node which could not read it for long misses nothing. Milliseconds.
 */
const claimsFreshFor = 60_000

/**
 * Verifies this server's own access tokens: the signature, then that the grant lives, then who the person is upstream, as the store has it
 * now. A token that was seen costs no store and no cryptography while the revocation log is fresh.
 */
export const createOwnVerifier = (server: ServerContext): OwnVerifier => {
  const { clock, logger } = server
  const memory = createTokenMemory()
  const liveness = createLiveness(server, memory.forget)
  const verifiedAt = new WeakMap<AccessToken, number>()
  const underWay = new Map<string, Promise<AccessToken>>()

  const recall = (token: string, resource: string): AccessToken | undefined => {
    const now = clock.now()
    const known = memory.recall(token, resource, now)
    const age = known && now - (verifiedAt.get(known) ?? 0)
    return age !== undefined && age >= 0 && age < claimsFreshFor ? known : undefined
  }

  const verifyAnew = async (token: string, resource: string): Promise<AccessToken> => {
    const signed = await readSignedAccessToken(server, token)
    if (!sameResource(signed.resource, resource)) throw new TokenInvalid('audience')
    // Taken before the grant is read: what is revoked in between is not remembered.
    const epoch = memory.epoch()
    const startedAt = clock.now()
    const accessToken = await identify(server, token, resource, signed)
    if (liveness.isRevoked(signed.grant)) throw new TokenInvalid('revoked')
    verifiedAt.set(accessToken, startedAt)
    memory.remember(accessToken, epoch, signed.grant)
    return accessToken
  }

  const shared = (token: string, resource: string): Promise<AccessToken> => {
    const key = `${token} ${resource}`
    const begun = underWay.get(key)
    if (begun) return begun
    const verification = verifyAnew(token, resource).finally(() => underWay.delete(key))
    underWay.set(key, verification)
    return verification
  }

  return {
    async verify(token, resource) {
      try {
        if (!liveness.isFresh()) await liveness.catchUp()
        return recall(token, resource) ?? (await shared(token, resource))
      } catch (error) {
        if (error instanceof TokenInvalid) throw error
        logger.error('an access token could not be verified', { error })
        throw new VerifierUnavailable('an access token could not be verified', { cause: error })
      }
    },
    close: liveness.close,
  }
}

/** What the store says of a token that was signed by us: it may know better than the token. */
const identify = async (
  { records, custody }: ServerContext,
  token: string,
  resource: string,
  { grant: id, issuer, subject, clientId, scopes, expiresAt, claims, ...signed }: SignedAccessToken,
): Promise<AccessToken> => {
  const [stored] = (await records.get(grantRef(id))).values
  if (!stored) throw new TokenInvalid('revoked')
  const grant = stored.value
  const granted = grant.resources[signed.resource]
  if (grant.issuer !== issuer || grant.subject !== subject || grant.clientId !== clientId || !granted) {
    throw new TokenInvalid('claims')
  }
  const identified = await custody.identity(grant.upstreamSession)
  if (identified === 'schema') throw new TokenInvalid('schema')
  if (identified === 'gone') throw new TokenInvalid('revoked')
  return createAccessToken({
    token,
    kind: grant.kind,
    issuer,
    subject,
    clientId,
    scopes: scopes.filter((scope) => granted.includes(scope)),
    resource,
    expiresAt,
    claims,
    upstream: identified.facts,
  })
}
