import { TokenInvalid, VerifierUnavailable } from '../identity/verifier.ts'
import { OAuthError } from '../oauth/errors.ts'
import { type Grant, grantRef, sessionGrants } from '../records/grant.ts'
import type { Identified } from '../upstream/custody.ts'
import { lastHeard, type Revalidation } from '../upstream/revalidation.ts'
import type { ServerContext } from './context.ts'
import { revokeGrant } from './grants.ts'

/** How long what the store says of a person may be remembered, in milliseconds. Undefined: as long as anything. */
export type FreshFor = number | undefined

// While the provider is asked, and while it can't be.
const briefly = 1_000
// Longer than a call takes that nothing holds up.
const soon = 20
// How long a call waits for the provider when its last answer is older than twice what the policy says.
const patience = 3_000
// Parallel and repeated refreshes share one answer.
const sharedFor = 5_000
// What an access token lives that is issued although the provider can't be asked, in seconds.
const shortLife = 60

/**
 * Whether a person may make calls still, by the provider's policy. A call does not wait for the provider: an answer that has become old is
 * renewed beside it. Only where nobody has asked for twice as long, whoever comes first waits, and all others with it.
 * @throws TokenInvalid the provider said no; VerifierUnavailable it can't be asked, and its last answer is too old
 */
export const checkStanding = async (server: ServerContext, { session, now }: Identified): Promise<FreshFor> => {
  if (session.ended?.reason === 'logged_out') throw await ended(server, session.id)
  const policy = policyOf(server, session)
  if (!policy) return undefined
  if (session.ended) throw await ended(server, session.id)
  if (policy.when === 'on_refresh') return undefined
  const every = policy.when.every * 1000
  const age = now - lastHeard(session)
  if (age < every) return every - age
  const tooOld = age >= policy.maximumStaleness * 1000
  const waits = tooOld || (age >= 2 * every && session.failedAt === undefined)
  if (!waits) {
    checkSoon(server, session.id, every)
    return briefly
  }
  const answer = await within(patience, server.custody.check(session.id, every))
  if (answer === 'ended') throw await ended(server, session.id)
  if (answer === 'down' && tooOld)
    throw new VerifierUnavailable('the provider has not vouched for the person for too long')
  return briefly
}

/** Whether any provider is asked again about its people. */
export const asksProviders = ({ providers }: Pick<ServerContext, 'providers'>): boolean =>
  providers.some(({ revalidation }) => revalidation !== undefined)

/**
 * Whether a person's client may refresh, by the provider's policy. Answers how long the access token may live, in seconds, where the provider
 * can't be asked now.
 * @throws OAuthError `invalid_grant` the provider said no; `temporarily_unavailable` its last answer is too old
 */
export const standingAtRefresh = async (server: ServerContext, grant: Grant): Promise<number | undefined> => {
  if (!asksProviders(server)) return undefined
  const identified = await server.custody.identity(grant.upstreamSession)
  if (typeof identified === 'string') return undefined
  const { session, now } = identified
  const policy = policyOf(server, session)
  if (!policy) return undefined
  const maxAge = policy.when === 'on_refresh' ? sharedFor : policy.when.every * 1000
  const answer = await server.custody.check(session.id, maxAge)
  if (answer === 'valid') return undefined
  if (answer === 'ended') {
    await endGrantsOf(server, session.id)
    throw new OAuthError('invalid_grant', 'sign in again', { reason: 'upstream_ended' })
  }
  const left = policy.maximumStaleness - (now - lastHeard(session)) / 1000
  if (left > 0) return Math.ceil(Math.min(shortLife, left))
  throw new OAuthError('temporarily_unavailable', 'the identity provider is out of reach: try again', {
    reason: 'upstream_stale',
  })
}

/**
 * Ends all that clients have by a sign-in which is over. Answers how many grants that were. Nothing new is granted on such a session, so that
 * none is missed.
 * @throws StoreUnavailable
 */
export const endGrantsOf = async (server: ServerContext, session: string): Promise<number> => {
  const { records, custody } = server
  let grants = 0
  for (let after: string | undefined; ; ) {
    const page = { limit: pageSize, ...(after === undefined ? {} : { after }) }
    const { values } = await records.list(sessionGrants, session, page)
    const ids = values.map(({ ref }) => ref.key.slice(ref.key.lastIndexOf('/') + 1))
    const found = ids.length === 0 ? [] : (await records.get(...ids.map(grantRef))).values
    for (const stored of found) {
      if (!stored) continue
      await revokeGrant(server, stored, 'upstream')
      grants += 1
    }
    if (values.length < pageSize) break
    after = ids.at(-1)
  }
  await custody.release(session)
  return grants
}

const pageSize = 100

/** Only when the call that it is due to has been answered: what a check writes would hold it up, where the store is in this process. */
const checkSoon = (server: ServerContext, session: string, every: number): void => {
  const check = async () => {
    if ((await server.custody.check(session, every)) === 'ended') await endGrantsOf(server, session)
  }
  setTimeout(() => {
    check().catch((error: unknown) => {
      server.logger.warn('a provider could not be asked about a session', { error })
    })
  }, soon)
}

const ended = async (server: ServerContext, session: string): Promise<TokenInvalid> => {
  await endGrantsOf(server, session)
  return new TokenInvalid('revoked')
}

/** Of a sign-in that brought no tokens (an assertion) nobody can be asked: it is as good as what it stands on, which is short. */
const policyOf = (
  { providers }: ServerContext,
  { provider, tokens, ended: over }: Identified['session'],
): Revalidation | undefined => (tokens || over ? providers.find(({ id }) => id === provider)?.revalidation : undefined)

const within = async <T>(milliseconds: number, asked: Promise<T>): Promise<T | 'down'> => {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<'down'>((resolve) => {
    timer = setTimeout(() => resolve('down'), milliseconds)
  })
  try {
    return await Promise.race([asked, late])
  } finally {
    clearTimeout(timer)
  }
}
