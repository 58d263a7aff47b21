import { OAuthError } from '../oauth/errors.ts'
import { readForm, readParameters } from '../oauth/parameters.ts'
import { put } from '../records/records.ts'
import { usedLogoutRef } from '../records/upstream-session.ts'
import { type LogoutToken, SignInRefused } from '../upstream/provider.ts'
import type { Arrival, ServerContext } from './context.ts'
import { type Answer, answerMachine } from './endpoint.ts'
import { limitRefusedLogouts } from './logout-limit.ts'
import { endGrantsOf } from './upstream-standing.ts'

const maximumBody = 65_536

/**
 * The provider tells of a person who has signed out there. Each logout token counts once: who found one later can't sign the person out again.
 * @see OpenID Connect Back-Channel Logout 1.0 §2.5 to §2.8
 */
export const backchannelLogout = (
  server: ServerContext,
  request: Request,
  providerId: string,
  arrival: Arrival = {},
): Promise<Response> =>
  answerMachine(server, request, 'logout', async () => {
    try {
      return await limitRefusedLogouts(server, arrival, () => carryOut(server, request, providerId))
    } catch (error) {
      if (error instanceof OAuthError && error.status < 500) {
        server.audit({ type: 'upstream.logout_refused', provider: providerId, reason: error.reason })
      }
      throw error
    }
  })

const carryOut = async (server: ServerContext, request: Request, providerId: string): Promise<Answer> => {
  const token = await readToken(server, request, providerId)
  const used = usedLogoutRef(providerId, token.jti)
  const { values, now } = await server.records.get(used)
  if (values[0]) throw new OAuthError('invalid_request', 'this logout token was used before', { reason: 'replayed' })
  const { sessions, ended } = await server.custody.logOut(providerId, token)
  let grants = 0
  for (const session of ended) grants += await endGrantsOf(server, session)
  // Only now: a provider that got no answer may try again.
  await server.records.commit({ puts: [put(used, {}, Math.max(1, token.expiresAt * 1000 - now))] })
  const { issuer, sub, sid } = token
  const who = { issuer, ...(sub === undefined ? {} : { sub }), ...(sid === undefined ? {} : { sid }) }
  server.audit({ type: 'upstream.logged_out', provider: providerId, ...who, sessions, grants })
  return {}
}

const readToken = async (server: ServerContext, request: Request, providerId: string): Promise<LogoutToken> => {
  const open = server.providers.find(({ id }) => id === providerId)?.open
  if (open?.kind !== 'redirect' || !open.readLogout) {
    throw new OAuthError('invalid_request', 'this provider can not tell of logouts')
  }
  const { logout_token: token } = readParameters(await readForm(request, maximumBody), ['logout_token'])
  if (token === undefined) throw new OAuthError('invalid_request', 'logout_token is missing')
  try {
    return await open.readLogout(token)
  } catch (error) {
    if (!(error instanceof SignInRefused)) throw error
    throw new OAuthError('invalid_request', 'the logout token is not good', {
      reason: error.detail ?? error.reason,
      cause: error,
    })
  }
}
