import { findResource, type Resource } from '../oauth/resource.ts'
import { type Client, clientRef } from '../records/client.ts'
import type { AuthorizationRequest } from '../records/interaction.ts'
import { redirectsOf } from './client-document.ts'
import type { ServerContext } from './context.ts'
import { knownClient } from './known-client.ts'
import { type AskedResource, type AskingClient, type OfferedScope, PageProblem } from './pages.ts'
import { refused } from './refusal.ts'

export const askingClient = (
  client: Client,
  { redirectKind, redirectHost }: Pick<AuthorizationRequest, 'redirectKind' | 'redirectHost'>,
): AskingClient => ({
  ...(client.name === undefined ? {} : { name: client.name }),
  verified: client.source === 'configured',
  redirectKind,
  redirectHost,
  ...(client.document === undefined ? {} : { publishedBy: publisher(client) }),
})

const publisher = (client: Client): NonNullable<AskingClient['publishedBy']> => ({
  domain: new URL(client.id).host,
  // Then no redirect shows that it is the domain's app: any program on a computer can pose as it.
  onlyLocal: redirectsOf(client, {}).every(({ kind }) => kind !== 'https'),
})

export interface Asked {
  readonly client: AskingClient
  readonly resource: AskedResource
  /** What each scope that was asked for allows. */
  readonly scopes: (ticked: readonly string[], before: readonly string[]) => readonly OfferedScope[]
}

/**
 * Who asks for what, as every page of an interaction shows it.
 * @throws PageProblem where the client or the resource has gone meanwhile
 */
export const readAsked = async (server: ServerContext, request: AuthorizationRequest): Promise<Asked> => {
  const [stored] = (await server.records.get(clientRef(request.clientId))).values
  const client = knownClient(server, request.clientId, stored)?.value
  const resource = findResource(server.resources, request.resource)
  if (!client || !resource) {
    refused(server, client ? 'the resource has gone' : 'the client has gone', { clientId: request.clientId })
    throw new PageProblem('client_unknown', 400)
  }
  return {
    client: askingClient(client, request),
    resource: { identifier: resource.identifier, ...(resource.name === undefined ? {} : { name: resource.name }) },
    scopes: (ticked, before) => request.scopes.map((scope) => offered(resource, scope, ticked, before)),
  }
}

const offered = (
  resource: Resource,
  scope: string,
  ticked: readonly string[],
  before: readonly string[],
): OfferedScope => ({
  scope,
  description: resource.scopes[scope] ?? scope,
  ticked: ticked.includes(scope),
  before: before.includes(scope),
})
