import { TokenInvalid } from '../identity/verifier.ts'
import { readClientCredentials } from '../oauth/client-authentication.ts'
import { OAuthError } from '../oauth/errors.ts'
import { readForm, readParameters } from '../oauth/parameters.ts'
import { type Grant, grantRef } from '../records/grant.ts'
import type { Stored } from '../records/records.ts'
import { authenticateClient, candidateRefs, claimedClientId } from './client-authentication.ts'
import type { ServerContext } from './context.ts'
import { answerMachine } from './endpoint.ts'
import { describedClients, isUndescribed } from './find-client.ts'
import { revokeGrant } from './grants.ts'
import { readSignedAccessToken } from './signed-access-token.ts'
import { isGenuine, parseRefreshToken } from './tokens.ts'

const maximumBody = 65_536

/**
 * Ends the grant of an access token or of a refresh token. What is no token of ours, or none any more, is answered like one that was.
 * @see RFC 7009
 */
export const revokeEndpoint = (server: ServerContext, request: Request): Promise<Response> =>
  answerMachine(server, request, 'revoke', async () => {
    const about: { clientId?: string } = {}
    try {
      await revoke(server, request, about)
      return {}
    } catch (error) {
      if (error instanceof OAuthError && error.status < 500) {
        server.audit({ type: 'revocation.refused', reason: error.reason, ...about })
      }
      throw error
    }
  })

const revoke = async (server: ServerContext, request: Request, about: { clientId?: string }): Promise<void> => {
  const form = await readForm(request, maximumBody)
  const authorization = request.headers.get('authorization')
  const credentials = readClientCredentials(authorization, form)
  about.clientId = claimedClientId(credentials)
  const read = await server.records.get(...candidateRefs(credentials))
  const token = readToken(form)
  const grant = token.startsWith('cs_')
    ? await grantOfRefreshToken(server, token)
    : await grantOfAccessToken(server, token)
  const clients = await describedClients(server, credentials, read.values, read.now, grant?.value.clientId)
  if (!grant && isUndescribed(server, credentials, clients)) return
  const { client } = authenticateClient(credentials, clients, authorization)
  if (!grant) return
  if (grant.value.clientId !== client.value.id) {
    throw new OAuthError('invalid_grant', 'the token was issued to another client', { reason: 'other_client' })
  }
  await revokeGrant(server, grant, 'client')
}

/** Longer than other parameters may be: access tokens carry the claims that the server names. */
const readToken = (form: URLSearchParams): string => {
  readParameters(form, ['token_type_hint'])
  const [token, ...others] = form.getAll('token')
  if (token === undefined || token === '') throw new OAuthError('invalid_request', 'token is missing')
  if (others.length > 0) throw new OAuthError('invalid_request', 'token was sent more than once')
  return token
}

/** Of any generation: who shows one that was replaced means the same grant. */
const grantOfRefreshToken = async (server: ServerContext, text: string): Promise<Stored<Grant> | undefined> => {
  const token = parseRefreshToken(text)
  if (!token) return undefined
  const [grant] = (await server.records.get(grantRef(token.grant))).values
  const key = grant?.value.refresh && (await server.keys.macKeyById(token.keyId))
  return key && grant.value.refresh && isGenuine(token, grant.value.refresh.salt, key) ? grant : undefined
}

/** An expired one too: who signs out means the grant. */
const grantOfAccessToken = async (server: ServerContext, token: string): Promise<Stored<Grant> | undefined> => {
  try {
    const { grant } = await readSignedAccessToken(server, token, { expired: true })
    return (await server.records.get(grantRef(grant))).values[0]
  } catch (error) {
    if (error instanceof TokenInvalid) return undefined
    throw error
  }
}
