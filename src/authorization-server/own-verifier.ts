import { type AccessToken, createAccessToken } from '../identity/access-token.ts'
import { checkBoundKey } from '../identity/confirmation.ts'
import { createTokenMemory } from '../identity/token-memory.ts'
import { TokenInvalid, VerifierUnavailable } from '../identity/verifier.ts'
import { sameResource } from '../oauth/resource.ts'
import { isClientRevocation } from '../records/revocation.ts'
import type { OwnVerifier, ServerContext } from './context.ts'
import { identify } from './identify.ts'
import { createLiveness } from './liveness.ts'
import { readSignedAccessToken, type SignedAccessToken } from './signed-access-token.ts'

interface LookedUp {
  readonly at: number
  readonly freshFor: number
  /** Its signature is good as long as the token is remembered. */
  readonly signed: SignedAccessToken
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
  const liveness = createLiveness(server, (revoked) => {
    // Seldom: it costs all the others no more than being looked up once more.
    if (isClientRevocation(revoked)) memory.forgetAll()
    else memory.forget(revoked)
  })
  const unwatch = server.keys.whenDropped(() => memory.forgetAll())
  const lookedUp = new WeakMap<AccessToken, LookedUp>()
  const underWay = new Map<string, Promise<AccessToken>>()

  const recall = (token: string, resource: string | undefined): AccessToken | undefined => {
    const now = clock.now()
    const known = memory.recall(token, resource, now)
    const { at = 0, freshFor = 0 } = (known && lookedUp.get(known)) ?? {}
    return now >= at && now - at < freshFor ? known : undefined
  }

  const signedBefore = (token: string, resource: string): SignedAccessToken | undefined => {
    const known = memory.recall(token, resource, clock.now())
    return known && lookedUp.get(known)?.signed
  }

  const verifyAnew = async (token: string, resource: string): Promise<AccessToken> => {
    await server.keys.catchUp()
    // Taken before the key and the grant are read: what is dropped or revoked in between is not remembered.
    const epoch = memory.epoch()
    const signed = signedBefore(token, resource) ?? (await readSignedAccessToken(server, token))
    if (!sameResource(signed.resource, resource)) throw new TokenInvalid('audience')
    const startedAt = clock.now()
    const { facts, standsOn, freshFor = claimsFreshFor } = await identify(server, signed)
    const accessToken = createAccessToken({ ...facts, token, resource })
    if (standsOn.some(liveness.isRevoked)) throw new TokenInvalid('revoked')
    lookedUp.set(accessToken, { at: startedAt, freshFor: Math.min(freshFor, claimsFreshFor), signed })
    memory.remember(accessToken, epoch, ...standsOn)
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

  const inspectAnew = async (token: string, serves: (resource: string) => boolean): Promise<AccessToken> => {
    await server.keys.catchUp()
    const signed = await readSignedAccessToken(server, token)
    if (!serves(signed.resource)) throw new TokenInvalid('audience')
    // Another may have finished meanwhile.
    return recall(token, signed.resource) ?? shared(token, signed.resource)
  }

  /** Not beyond its end by the store's clock either: who asks may ask any node. */
  const checkLife = (accessToken: AccessToken): AccessToken => {
    if (accessToken.expiresAt * 1000 <= (liveness.storeTime() ?? 0)) throw new TokenInvalid('expired')
    return accessToken
  }

  return {
    async verify(token, resource, jkt) {
      try {
        if (!liveness.isFresh()) await liveness.catchUp()
        const accessToken = recall(token, resource) ?? (await shared(token, resource))
        checkBoundKey(accessToken.claims, jkt)
        return accessToken
      } catch (error) {
        if (error instanceof TokenInvalid || error instanceof VerifierUnavailable) throw error
        logger.error('an access token could not be verified', { error })
        throw new VerifierUnavailable('an access token could not be verified', { cause: error })
      }
    },
    async inspect(token, serves) {
      if (!liveness.isFresh()) await liveness.catchUp()
      const known = recall(token, undefined)
      if (!known) return checkLife(await inspectAnew(token, serves))
      if (!serves(lookedUp.get(known)?.signed.resource ?? '')) throw new TokenInvalid('audience')
      return checkLife(known)
    },
    storeTime: () => liveness.storeTime(),
    recall: (token, resource) => (liveness.isFresh() ? recall(token, resource) : undefined),
    close() {
      liveness.close()
      unwatch()
    },
  }
}
