import { parseRedirectUri } from '../oauth/redirect-uri.ts'
import { findResource } from '../oauth/resource.ts'
import type { Account, Identity } from '../records/account.ts'
import { type Client, clientRef } from '../records/client.ts'
import { type Consent, consents } from '../records/consent.ts'
import { accountGrants, type Grant, grantRef, sessionGrants } from '../records/grant.ts'
import type { Records, RecordType, Stored } from '../records/records.ts'
import { accountSessions, upstreamSessionRef } from '../records/upstream-session.ts'
import { shownClient } from './asking.ts'
import type { ServerContext } from './context.ts'
import { isRedeemed, revokeGrant, revokeGrantById } from './grants.ts'
import { knownClient } from './known-client.ts'
import type { AllowedResource, ConnectedApp, Connection } from './pages.ts'

/** What this account allows clients now, or would again without being asked; what was used last comes first. */
export const connectedApps = async (server: ServerContext, account: string): Promise<readonly ConnectedApp[]> => {
  const byClient = new Map<string, { grants: Grant[]; consents: Consent[] }>()
  const of = (clientId: string) => {
    const known = byClient.get(clientId) ?? { grants: [], consents: [] }
    byClient.set(clientId, known)
    return known
  }
  for await (const { value } of grantsOf(server.records, account)) {
    if (isRedeemed(value)) of(value.clientId).grants.push(value)
  }
  for await (const { value } of pages(server.records, consents, account)) of(value.clientId).consents.push(value)
  const ids = [...byClient.keys()]
  const clients = await clientsOf(server, ids)
  const apps = ids.map((id) => appOf(server, id, clients.get(id), of(id)))
  return apps.sort((a, b) => (b.usedAt ?? b.since) - (a.usedAt ?? a.since))
}

const clientsOf = async (server: ServerContext, ids: readonly string[]): Promise<ReadonlyMap<string, Client>> => {
  const found = new Map<string, Client>()
  for (let from = 0; from < ids.length; from += batch) {
    const some = ids.slice(from, from + batch)
    const { values } = await server.records.get(...some.map(clientRef))
    for (const [index, id] of some.entries()) {
      const client = knownClient(server, id, values[index])
      if (client) found.set(id, client.value)
    }
  }
  return found
}

const appOf = (
  server: ServerContext,
  clientId: string,
  client: Client | undefined,
  { grants, consents }: { readonly grants: readonly Grant[]; readonly consents: readonly Consent[] },
): ConnectedApp => {
  const connections = grants.map((grant) => connectionOf(server, grant)).sort((a, b) => b.usedAt - a.usedAt)
  const allowed =
    grants.length > 0 ? grants.flatMap(({ resources }) => Object.entries(resources)) : remembered(consents)
  const [last] = connections
  return {
    clientId,
    client: shownClient(clientId, client),
    resources: allowedResources(server, allowed),
    since: Math.min(...[...grants, ...consents].map(({ createdAt }) => createdAt)),
    ...(last === undefined ? {} : { usedAt: last.usedAt }),
    connections,
  }
}

const remembered = (consents: readonly Consent[]) =>
  consents.map(({ resource, scopes }): [string, readonly string[]] => [resource, scopes])

const connectionOf = (server: ServerContext, grant: Grant): Connection => {
  const { id } = grant
  if (grant.kind !== 'authorization') return { id, by: grant.kind, since: grant.createdAt, usedAt: grant.createdAt }
  const redirect = parseRedirectUri(grant.code.redirectUri, server)
  return {
    id,
    by: grant.kind,
    redirectHost: grant.redirectHost,
    // What can't be read any more was not a web server's: those don't depend on the configuration.
    redirectKind: redirect.ok ? redirect.uri.kind : 'private',
    since: grant.createdAt,
    // A client that is in use asks for a new access token every few minutes; calls are not written down.
    usedAt: grant.refresh?.usedAt ?? grant.code.redeemed?.at ?? grant.createdAt,
  }
}

/** Each resource once, each scope once, in the order of the configuration. What is no longer served allows nothing. */
const allowedResources = (
  { resources }: ServerContext,
  allowed: readonly (readonly [resource: string, scopes: readonly string[]])[],
): readonly AllowedResource[] =>
  resources.flatMap((resource) => {
    const here = allowed.filter(([identifier]) => findResource([resource], identifier))
    if (here.length === 0) return []
    const held = new Set(here.flatMap(([, scopes]) => scopes))
    const known = Object.keys(resource.scopes).filter((scope) => held.has(scope))
    return [
      {
        identifier: resource.identifier,
        ...(resource.name === undefined ? {} : { name: resource.name }),
        descriptions: known.map((scope) => resource.scopes[scope] ?? scope),
      },
    ]
  })

/**
 * Ends all that a client has of an account: first what it could be granted again without asking, so that from then on nothing is; then every
 * grant, whose code was redeemed or not.
 * @throws StoreUnavailable it may be half done; asking again is safe
 */
export const disconnect = async (server: ServerContext, account: string, clientId: string): Promise<void> => {
  const { records } = server
  let withdrawn = 0
  for await (const { ref, value } of pages(records, consents, account)) {
    if (value.clientId !== clientId) continue
    await records.commit({ deletes: [ref] })
    withdrawn += 1
  }
  let ended = 0
  for await (const stored of grantsOf(records, account, clientId)) {
    await revokeGrant(server, stored, 'person')
    ended += 1
  }
  if (withdrawn + ended > 0) server.audit({ type: 'client.disconnected', clientId, account, grants: ended })
}

/**
 * Takes a way to sign in away from an account, and ends what stands on sign-ins by it. False where it is not one of several.
 * @throws StoreUnavailable it may be half done; then nobody signs in by it any more
 */
export const removeIdentity = async (
  server: ServerContext,
  account: Account,
  identity: Pick<Identity, 'issuer' | 'subject'>,
): Promise<boolean> => {
  const { records, accounts, custody } = server
  if (!(await accounts.unlink(account.id, identity))) return false
  for await (const { ref } of pages(records, accountSessions, account.id)) {
    const id = ref.key.slice(ref.key.lastIndexOf('/') + 1)
    const session = (await records.get(upstreamSessionRef(id))).values[0]?.value
    if (session?.issuer !== identity.issuer || session.subject !== identity.subject) continue
    const grants = new Set<string>()
    const collect = async () => {
      for await (const grant of pages(records, sessionGrants, id))
        grants.add(grant.ref.key.slice(grant.ref.key.lastIndexOf('/') + 1))
    }
    await collect()
    // From here on no grant is made of it; one may just have been.
    await custody.erase(id)
    await collect()
    for (const grant of grants) await revokeGrantById(server, grant, 'person', account.id)
  }
  server.audit({
    type: 'account.identity_removed',
    account: account.id,
    issuer: identity.issuer,
    subject: identity.subject,
  })
  return true
}

const batch = 100

/** The grants that there are; the index may name some that have ended. */
async function* grantsOf(records: Records, account: string, clientId?: string): AsyncGenerator<Stored<Grant>> {
  let ids: string[] = []
  const read = async () =>
    (await records.get(...ids.map(grantRef))).values.flatMap((stored) => (stored ? [stored] : []))
  for await (const { ref, value } of pages(records, accountGrants, account)) {
    if (clientId !== undefined && value.clientId !== clientId) continue
    ids.push(ref.key.slice(ref.key.lastIndexOf('/') + 1))
    if (ids.length < batch) continue
    yield* await read()
    ids = []
  }
  if (ids.length > 0) yield* await read()
}

async function* pages<T>(records: Records, type: RecordType<T>, within: string): AsyncGenerator<Stored<T>> {
  for (let after: string | undefined; ; ) {
    const { values } = await records.list(type, within, {
      limit: batch,
      ...(after === undefined ? {} : { after }),
    })
    yield* values
    const last = values.at(-1)
    if (!last || values.length < batch) return
    after = last.ref.key.slice(`${type.name}/${within}/`.length)
  }
}
