import { utf8 } from '../crypto/bytes.ts'
import { type ClientMetadata, clientInformationResponse, parseClientMetadata } from '../oauth/client-metadata.ts'
import { OAuthError } from '../oauth/errors.ts'
import type { Client } from '../records/client.ts'
import type { ServerContext } from './context.ts'

/** The body of a registration or of a change to one. @throws OAuthError `invalid_client_metadata` and its like */
export const readRegistration = (server: ServerContext, body: unknown): ClientMetadata => {
  const { privateSchemes, assertions, clientMetadataDocuments } = server
  const metadata = parseClientMetadata(body, { privateSchemes, assertions: assertions?.enterprise ?? false })
  const { keys } = metadata
  // Whom strangers may make us ask for keys, the operator's rules for metadata documents say.
  if (keys && 'jwksUri' in keys && !clientMetadataDocuments?.mayFetch(keys.jwksUri)) {
    throw new OAuthError('invalid_client_metadata', 'jwks_uri: keys are not fetched from there: send jwks')
  }
  checkSize(metadata)
  return metadata
}

/**
 * Whoever registers has us keep it for a month, and may register again: what nobody needs adds up. A client of today comes to less than one thousand
 * bytes, or to four with its keys.
 */
const mostKept = 8_192

const checkSize = (metadata: ClientMetadata): void => {
  if (utf8(JSON.stringify(registered(metadata, undefined))).length <= mostKept) return
  throw new OAuthError(
    'invalid_client_metadata',
    `the registration: expected at most ${mostKept} bytes of redirect URIs, keys and addresses together`,
    { reason: 'too_large' },
  )
}

type Registered = Omit<Client, 'id' | 'source' | 'createdAt' | 'expiresAt' | 'management'>

/** What a registration says, as it is kept. */
export const registered = (
  { redirectUris, tokenEndpointAuthMethod: authentication, ...metadata }: ClientMetadata,
  secretHash: string | undefined,
): Registered => {
  const { clientName, clientUri, applicationType, grantTypes, keys, dpopBoundAccessTokens } = metadata
  const { requirePushedRequests, logoUri, tosUri, policyUri } = metadata
  const pages = {
    ...(logoUri === undefined ? {} : { logoUri }),
    ...(tosUri === undefined ? {} : { tosUri }),
    ...(policyUri === undefined ? {} : { policyUri }),
  }
  return {
    ...(clientName === undefined ? {} : { name: clientName }),
    ...(clientUri === undefined ? {} : { uri: clientUri }),
    redirectUris: redirectUris.map(({ text }) => text),
    applicationType,
    authentication,
    ...(secretHash === undefined ? {} : { secretHash }),
    ...(Object.keys(pages).length === 0 ? {} : { pages }),
    ...(keys === undefined ? {} : { keys }),
    grantTypes,
    ...(dpopBoundAccessTokens ? { dpopBoundAccessTokens } : {}),
    ...(requirePushedRequests ? { requirePushedRequests } : {}),
  }
}

export const needsSecret = ({ tokenEndpointAuthMethod }: ClientMetadata): boolean =>
  tokenEndpointAuthMethod.startsWith('client_secret')

/** Where a client manages its registration. @see RFC 7592 §3 */
const managementUri = ({ endpoints }: ServerContext, id: string): string =>
  `${endpoints.register}?client_id=${encodeURIComponent(id)}`

/**
 * What a client is told of its registration. Its secret is told only when it is new: we keep the hash alone.
 * @param token with which it manages it
 * @see RFC 7591 §3.2.1, RFC 7592 §3
 */
export const registrationResponse = (
  server: ServerContext,
  { id, createdAt, name, uri, redirectUris, applicationType, authentication, pages, keys, ...client }: Client,
  token: string,
  clientSecret?: string,
): object =>
  clientInformationResponse({
    clientId: id,
    ...(clientSecret === undefined ? {} : { clientSecret }),
    issuedAt: Math.floor(createdAt / 1000),
    management: { uri: managementUri(server, id), token },
    metadata: {
      redirectUris: redirectUris.map((text) => ({ text })),
      applicationType,
      tokenEndpointAuthMethod: authentication,
      ...(keys === undefined ? {} : { keys }),
      // Only what a registration can have.
      grantTypes: client.grantTypes as ClientMetadata['grantTypes'],
      ...(client.dpopBoundAccessTokens ? { dpopBoundAccessTokens: true } : {}),
      ...(client.requirePushedRequests ? { requirePushedRequests: true } : {}),
      ...(name === undefined ? {} : { clientName: name }),
      ...(uri === undefined ? {} : { clientUri: uri }),
      ...pages,
    },
  })
