import type { Clock } from '../events/clock.ts'
import type { Logger } from '../events/logger.ts'
import type { JsonObject } from '../identity/json.ts'
import { signedIntrospectionType } from '../oauth/introspection.ts'
import { jose } from '../oauth/jose.ts'
import { type Fetch, fetchJson } from './discovery.ts'
import { createKeySet } from './key-set.ts'

export interface SignedAnswerOptions {
  readonly issuer: string
  /** Whom it must be for. */
  readonly clientId: string
  readonly jwksUri: (signal: AbortSignal) => Promise<string>
  readonly fetch: Fetch
  readonly clock: Clock
  readonly logger: Logger
  /** Seconds. */
  readonly clockSkew: number
}

/**
 * Makes the check of introspection answers that the issuer signs: who said it, to whom, and that it was said now.
 * @returns rejects with whatever says that this is no such answer
 * @see RFC 9701 §5
 */
export const createSignedAnswers = (options: SignedAnswerOptions): ((jwt: string) => Promise<JsonObject>) => {
  const { issuer, clientId, jwksUri, fetch, clock, logger, clockSkew } = options
  const keys = createKeySet({
    async load() {
      const signal = AbortSignal.timeout(fetchTimeout)
      return fetchJson(await jwksUri(signal), fetch, signal)
    },
    changed() {},
    clock,
    logger,
    freshFor: 10 * minute,
    keptFor: 24 * 60 * minute,
    coolDown: 10_000,
  })
  return async (jwt) => {
    const { jwtVerify } = await jose()
    const { payload } = await jwtVerify(
      jwt,
      async (header, jws) => {
        const [key] = await keys.keysFor(header, jws)
        if (!key) throw new Error('the issuer has no key for its answer')
        return key
      },
      {
        issuer,
        audience: clientId,
        typ: signedIntrospectionType,
        algorithms,
        // One that was heard before, or says no time, would tell of a token as it was then.
        maxTokenAge: longestWay,
        clockTolerance: clockSkew,
        currentDate: new Date(clock.now()),
      },
    )
    const { token_introspection: answer } = payload
    if (typeof answer !== 'object' || answer === null || Array.isArray(answer))
      throw new Error('an answer without content')
    return answer as JsonObject
  }
}

const algorithms = ['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'EdDSA', 'Ed25519']

/** Seconds that an answer may be under way. */
const longestWay = 10

const minute = 60_000
/** Milliseconds. */
const fetchTimeout = 5_000
