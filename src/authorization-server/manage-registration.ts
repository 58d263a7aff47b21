import { hashSecret, matchesSecret } from '../crypto/hash.ts'
import { OAuthError } from '../oauth/errors.ts'
import { readJson, readParameters } from '../oauth/parameters.ts'
import { type Client, clientRef } from '../records/client.ts'
import { put, type Stored } from '../records/records.ts'
import { StoreUnavailable } from '../store/store.ts'
import type { Arrival, ServerContext } from './context.ts'
import { endClient } from './end-client.ts'
import type { Answer } from './endpoint.ts'
import { needsSecret, readRegistration, registered, registrationResponse } from './registration.ts'
import { countChange } from './registration-limit.ts'
import { newSecret } from './tokens.ts'

const maximumBody = 65_536

/** A client reads, changes or deletes its own registration. @see RFC 7592 §2 */
export const manageRegistration = async (
  server: ServerContext,
  request: Request,
  { address }: Arrival,
): Promise<Answer> => {
  // The name of a host can be such that no URL has it.
  if (!URL.canParse(request.url)) throw new OAuthError('invalid_request', 'the request has no URL', { reason: 'host' })
  const { client_id: id } = readParameters(new URL(request.url).searchParams, ['client_id'])
  if (id === undefined) {
    throw new OAuthError('invalid_request', 'use POST, or name the client', {
      status: 405,
      headers: { Allow: 'POST, OPTIONS' },
    })
  }
  const token = bearerOf(request)
  if (token === undefined) throw invalidToken('no_registration_access_token')
  const open = await settled(server, await openRegistration(server, id, token))
  if (request.method === 'GET') return { body: registrationResponse(server, open.stored.value, token) }
  await countChange(server, address)
  if (request.method === 'PUT') return { body: await change(server, request, open) }
  await endClient(server, id, 'client')
  return { status: 204 }
}

interface OpenRegistration {
  readonly stored: Stored<Client>
  readonly token: string
  /** Whether it is the one before the newest. */
  readonly superseded: boolean
  /** The store's clock, milliseconds since the epoch. */
  readonly now: number
}

/**
 * The registration that a token manages. A client that there is not is answered like a wrong token.
 * @throws OAuthError `invalid_token`
 */
const openRegistration = async (server: ServerContext, id: string, token: string): Promise<OpenRegistration> => {
  const { values, now } = await server.records.get(clientRef(id))
  const [stored] = values
  const { hash = decoyHash, previous = decoyHash } = stored?.value.management ?? {}
  // Each is compared, whether it is there or not.
  const [current, superseded] = [matchesSecret(token, hash), matchesSecret(token, previous)]
  if (!stored || !(current || superseded)) {
    throw invalidToken(stored ? 'wrong_registration_access_token' : 'unknown_client')
  }
  return { stored, token, superseded: !current, now }
}

/** Who uses the newest token has it: the one before is of no use any more. */
const settled = async (server: ServerContext, open: OpenRegistration): Promise<OpenRegistration> => {
  const { stored, now } = open
  const { management, expiresAt } = stored.value
  if (open.superseded || management?.previous === undefined) return open
  const value: Client = { ...stored.value, management: { hash: management.hash } }
  const left = expiresAt === undefined ? undefined : Math.max(1, expiresAt - now)
  const result = await server.records.commit({ unchanged: [stored], puts: [put(stored.ref, value, left)] })
  return result.committed
    ? { ...open, stored: { ...stored, value, version: result.version } }
    : openRegistration(server, stored.value.id, open.token)
}

/** Nobody knows a token with this hash. */
const decoyHash = 'A'.repeat(43)

/**
 * Replaces the registration by what is sent: what is left out is gone. The token is replaced, too; the old one is good until the new one was
 * used, so that an answer that was lost locks nobody out.
 * @see RFC 7592 §2.2
 */
const change = async (server: ServerContext, request: Request, open: OpenRegistration): Promise<object> => {
  const { records, random } = server
  const body = await readJson(request, maximumBody, 'invalid_client_metadata')
  const metadata = readRegistration(server, checkedBody(body, open.stored.value))
  const token = `cs_ra_${newSecret(random)}`
  const newest = needsSecret(metadata) ? `cs_cs_${newSecret(random)}` : undefined
  let current = open
  for (let attempt = 0; attempt < 10; attempt++) {
    const { stored, now } = current
    const before = stored.value
    // A secret that it has stays; where it had none it is told the new one.
    const secret = before.secretHash === undefined ? newest : undefined
    const secretHash = needsSecret(metadata) ? (before.secretHash ?? (newest && hashSecret(newest))) : undefined
    const client: Client = {
      id: before.id,
      source: before.source,
      ...registered(metadata, secretHash),
      management: { hash: hashSecret(token), previous: hashSecret(open.token) },
      createdAt: before.createdAt,
      ...(before.expiresAt === undefined ? {} : { expiresAt: before.expiresAt }),
    }
    const left = before.expiresAt === undefined ? undefined : Math.max(1, before.expiresAt - now)
    const { committed } = await records.commit({ unchanged: [stored], puts: [put(stored.ref, client, left)] })
    if (committed) {
      server.audit({
        type: 'client.updated',
        clientId: client.id,
        by: 'client',
        ...(client.name === undefined ? {} : { name: client.name }),
        redirectHosts: metadata.redirectUris.map(({ host }) => host),
      })
      return registrationResponse(server, client, token, secret)
    }
    // It was used meanwhile, or changed by who has the token too.
    current = await openRegistration(server, before.id, open.token)
  }
  throw new StoreUnavailable('the registration changed again and again')
}

const ours = ['registration_access_token', 'registration_client_uri', 'client_secret_expires_at', 'client_id_issued_at']

/** @throws OAuthError for a body that is not about this client, or that would set what is ours to give */
const checkedBody = (body: unknown, { id, secretHash }: Client): unknown => {
  const refused = (what: string) => new OAuthError('invalid_client_metadata', what)
  const members = typeof body === 'object' && body !== null ? (body as Readonly<Record<string, unknown>>) : {}
  if (members.client_id !== id) throw refused('client_id: expected the one of the registration')
  const foreign = ours.find((name) => name in members)
  if (foreign !== undefined) throw refused(`${foreign}: expected not to be there`)
  const { client_secret: secret } = members
  const right = typeof secret === 'string' && secretHash !== undefined && matchesSecret(secret, secretHash)
  if (secret !== undefined && secret !== null && !right)
    throw refused('client_secret: expected the current one, or none')
  return body
}

/** @see RFC 6750 §2.1 */
export const bearerOf = (request: Request): string | undefined =>
  /^Bearer +([\w.~+/-]{1,512}=*)$/i.exec(request.headers.get('authorization') ?? '')?.[1]

/** @see RFC 6750 §3.1 */
export const invalidToken = (reason: string): OAuthError =>
  new OAuthError('invalid_token', 'the token is missing, unknown or no longer good', {
    reason,
    headers: { 'WWW-Authenticate': 'Bearer realm="register", error="invalid_token"' },
  })
