import { readClientCredentials } from '../oauth/client-authentication.ts'
import { OAuthError } from '../oauth/errors.ts'
import { readForm, readParameters } from '../oauth/parameters.ts'
import { grantRef } from '../records/grant.ts'
import { authenticateClient, candidateRefs, claimedClientId } from './client-authentication.ts'
import type { ServerContext } from './context.ts'
import { nextNonce, readProof, useProof } from './dpop.ts'
import { type Answer, answerMachine } from './endpoint.ts'
import { describedClients, isUndescribed } from './find-client.ts'
import { authorizationCode } from './grant-types/authorization-code.ts'
import { clientCredentials } from './grant-types/client-credentials.ts'
import { AuditedRefusal, type GrantType, invalidGrant } from './grant-types/grant-type.ts'
import { refreshToken } from './grant-types/refresh-token.ts'

const grantTypes: ReadonlyMap<string, GrantType> = new Map([
  ['authorization_code', authorizationCode],
  ['refresh_token', refreshToken],
  ['client_credentials', clientCredentials],
])

const maximumBody = 65_536

/** The token endpoint. @see RFC 6749 §3.2 */
export const tokenEndpoint = (server: ServerContext, request: Request): Promise<Response> =>
  answerMachine(server, request, 'token', () => exchange(server, request))

const exchange = async (server: ServerContext, request: Request): Promise<Answer> => {
  const about: About = { event: 'token.refused' }
  try {
    return await exchangeAbout(server, request, about)
  } catch (error) {
    if (error instanceof OAuthError && error.status < 500 && !(error instanceof AuditedRefusal)) {
      const { event: type, clientId, grant } = about
      const facts = { ...(clientId === undefined ? {} : { clientId }), ...(grant === undefined ? {} : { grant }) }
      server.audit({ type, reason: error.reason, ...facts })
    }
    throw error
  }
}

/** What is known of a request, for the audit log, when it is refused. */
interface About {
  event: GrantType['refusal']
  clientId?: string
  grant?: string | undefined
}

const exchangeAbout = async (server: ServerContext, request: Request, about: About): Promise<Answer> => {
  const form = await readForm(request, maximumBody)
  const { grant_type: name } = readParameters(form, ['grant_type'])
  if (name === undefined) throw new OAuthError('invalid_request', 'grant_type is missing')
  const type = grantTypes.get(name)
  if (!type) throw new OAuthError('unsupported_grant_type', `use one of ${[...grantTypes.keys()].join(', ')}`)
  about.event = type.refusal

  const authorization = request.headers.get('authorization')
  const credentials = readClientCredentials(authorization, form)
  about.clientId = claimedClientId(credentials)
  const presented = type.read(form)
  about.grant = presented.grant
  const proof = await readProof(server, request, server.endpoints.token)
  // One snapshot for all that is decided here. Where the request names no grant, the key is one that none has.
  const {
    values: [grant, ...read],
    now,
  } = await server.records.get(grantRef(presented.grant ?? ''), ...candidateRefs(credentials))
  const clients = await describedClients(server, credentials, read, now, grant?.value.clientId)
  if (!grant && isUndescribed(server, credentials, clients)) throw invalidGrant('unknown_or_ended')
  const authenticated = await authenticateClient(server, credentials, clients, authorization, now)
  if (!authenticated.client.value.grantTypes.includes(name)) {
    throw new OAuthError('unauthorized_client', `this client is not registered for ${name}`)
  }
  if (!proof) return { body: await presented.exchange(server, { ...authenticated, grant, now }) }
  await useProof(server, proof)
  const body = await presented.exchange(server, { ...authenticated, grant, now, jkt: proof.jkt })
  return { body, headers: await nextNonce(server, proof) }
}
