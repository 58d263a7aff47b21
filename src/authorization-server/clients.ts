import { hashSecret } from '../crypto/hash.ts'
import type { Random } from '../events/random.ts'
import { ConfigurationError, refusedBySchema } from '../oauth/configuration-error.ts'
import { type Client, clientRef, clients } from '../records/client.ts'
import { put } from '../records/records.ts'
import { clientRevocation } from '../records/revocation.ts'
import { StoreUnavailable } from '../store/store.ts'
import { redirectsOf } from './client-document.ts'
import { newClientId } from './client-id.ts'
import { type ClientSettings, clientSettingsSchema, resolveClient } from './client-options.ts'
import type { ServerContext } from './context.ts'
import { endClient } from './end-client.ts'
import { knownClient } from './known-client.ts'
import { commitRevocation } from './revocations.ts'
import { newGrantId, newSecret } from './tokens.ts'

/** A client as an operator sees it: all but its secret. */
export interface ClientInformation extends Omit<Client, 'secretHash' | 'management' | 'authentication' | 'document'> {
  /** Whether it must prove who it is. */
  readonly confidential: boolean
}

export interface NewClient extends ClientSettings {
  /** False for a client that can keep neither a secret nor a key. Default true: it is told a secret, unless it has keys of its own. */
  readonly confidential?: boolean | undefined
}

export interface CreatedClient extends ClientInformation {
  /** Told once: only its hash is kept. Not enumerable, so that it is never logged by accident. */
  readonly secret?: string
}

/**
 * Writes a client that the operator knows. It stays until it is deleted.
 * @throws ConfigurationError, StoreUnavailable
 */
export const createClient = async (server: ServerContext, client: NewClient): Promise<CreatedClient> => {
  const { records, random } = server
  const { confidential = true, ...given } = client
  const settings = checkSettings(given)
  checkProof(settings, confidential)
  const id = newClientId(random)
  const secret = confidential && !hasKeys(settings) ? newClientSecret(random) : undefined
  const ref = clientRef(id)
  const { now } = await records.get(ref)
  const secretHash = secret === undefined ? undefined : hashSecret(secret)
  const created = resolveClient({ id, secretHash, createdAt: now }, settings, server, 'client')
  const { committed } = await records.commit({ unchanged: [ref], puts: [put(ref, created)] })
  if (!committed) throw new StoreUnavailable('the new client was not written')
  const { name } = created
  server.audit({ type: 'client.created', clientId: id, ...(name === undefined ? {} : { name }) })
  return withSecret(created, secret)
}

const hasKeys = ({ jwks, jwksUri }: ClientSettings): boolean => jwks !== undefined || jwksUri !== undefined

const checkProof = (settings: ClientSettings, confidential: boolean | undefined): void => {
  if (confidential === false && hasKeys(settings)) {
    throw new ConfigurationError('client.confidential', 'true, since the client has keys')
  }
}

const newClientSecret = (random: Random): string => `cs_cs_${newSecret(random)}`

const withSecret = (client: Client, secret: string | undefined): CreatedClient => {
  const information = informationOf(client)
  return secret === undefined ? information : Object.defineProperty({ ...information }, 'secret', { value: secret })
}

export interface ChangedClient extends ClientSettings {
  /**
   * Whether it must prove who it is. Left out, that stays as it is; one that has no keys (any more) and no secret yet is told one, another keeps its
   * own. With keys it has no secret.
   */
  readonly confidential?: boolean | undefined
}

/**
 * Replaces all that a client may do by what is said now: what is left out is gone. Its id and its secret stay, and so does what people granted.
 * Undefined where there is no such client.
 * @throws ConfigurationError; Error for a client that is not the operator's to change here; StoreUnavailable: asking again is safe. Where it was to get
 * a secret, that may be there, told to nobody: made public and confidential again, it gets another
 * @see RFC 7592 §2.2
 */
export const updateClient = async (
  server: ServerContext,
  id: string,
  { confidential, ...given }: ChangedClient,
): Promise<CreatedClient | undefined> => {
  const { records, random } = server
  const settings = checkSettings(given)
  checkProof(settings, confidential)
  if (server.configuredClients.has(id)) throw new Error(`client "${id}" is in the configuration: change it there`)
  const newest = newClientSecret(random)
  const newestHash = hashSecret(newest)
  const ref = clientRef(id)
  let cause: unknown
  for (let attempt = 0; attempt < 10; attempt++) {
    const {
      values: [stored],
      now,
    } = await records.get(ref)
    if (!stored) return undefined
    const { source, secretHash: before, authentication, createdAt } = stored.value
    if (source !== 'configured') throw new Error(`client "${id}" describes itself: only it can change that`)
    const isConfidential = confidential ?? authentication !== 'none'
    const secretHash = isConfidential && !hasKeys(settings) ? (before ?? newestHash) : undefined
    const changed = resolveClient({ id, secretHash, createdAt }, settings, server, 'client')
    // Who remembers tokens of it looks again, whether it may still have them.
    const revocation = clientRevocation(id, newGrantId(random))
    try {
      const unit = { unchanged: [stored], puts: [put(ref, changed)] }
      // Where not, somebody changed it meanwhile, or deleted it.
      if (!(await commitRevocation(server, revocation, now, unit))) continue
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error
      // It may be written all the same, with a secret that nobody was told: read back what became of it.
      cause = error
      continue
    }
    const { name } = changed
    server.audit({
      type: 'client.updated',
      clientId: id,
      by: 'operator',
      ...(name === undefined ? {} : { name }),
      redirectHosts: redirectsOf(changed, server).map(({ host }) => host),
    })
    return withSecret(changed, secretHash === newestHash ? newest : undefined)
  }
  throw new StoreUnavailable('the client was not changed, or changed again and again', { cause })
}

export const getClient = async (server: ServerContext, id: string): Promise<ClientInformation | undefined> => {
  const [stored] = (await server.records.get(clientRef(id))).values
  const client = knownClient(server, id, stored)
  return client && informationOf(client.value)
}

export interface ClientPage {
  readonly clients: readonly ClientInformation[]
  /** Where the next page begins; absent at the end. */
  readonly cursor?: string
}

const checkSettings = (given: unknown): ClientSettings => {
  const { data, error } = clientSettingsSchema.safeParse(given)
  if (data) return data
  const [issue] = error.issues
  throw issue ? refusedBySchema(issue, 'client') : new ConfigurationError('client', 'an object')
}

/** All clients, in pages: first those of the configuration. */
export const listClients = async (server: ServerContext, cursor?: string): Promise<ClientPage> => {
  const { values } = await server.records.list(clients, '', {
    limit: pageSize,
    ...(cursor === undefined ? {} : { after: cursor }),
  })
  const last = values.at(-1)
  const configured = cursor === undefined ? [...server.configuredClients.values()] : []
  return {
    clients: [...configured, ...values.map(({ value }) => value)].map(informationOf),
    ...(last && values.length === pageSize ? { cursor: last.ref.key.slice(clients.name.length + 1) } : {}),
  }
}

const pageSize = 100

/**
 * Deletes a client, and ends all that was issued to it. False where there is none.
 * @throws Error for a client of the configuration: it is deleted there; StoreUnavailable: asking again is safe
 */
export const deleteClient = async (server: ServerContext, id: string): Promise<boolean> => {
  if (server.configuredClients.has(id)) throw new Error(`client "${id}" is in the configuration: take it out there`)
  return endClient(server, id, 'operator')
}

const informationOf = ({
  secretHash: _secretHash,
  management: _management,
  document: _document,
  authentication,
  ...client
}: Client): ClientInformation => ({ ...client, confidential: authentication !== 'none' })
