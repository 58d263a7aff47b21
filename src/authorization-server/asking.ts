import { looksLikeClientIdUrl } from '../oauth/client-id-metadata.ts'
import { findRedirectUri } from '../oauth/redirect-uri.ts'
import { findResource, type Resource } from '../oauth/resource.ts'
import { withImplied } from '../oauth/scope-hierarchy.ts'
import { type Client, clientRef } from '../records/client.ts'
import type { AuthorizationRequest, ResourceScopes } from '../records/interaction.ts'
import { redirectsOf } from './client-document.ts'
import type { ServerContext } from './context.ts'
import { knownClient } from './known-client.ts'
import { type AskedResource, type AskingClient, PageProblem } from './pages.ts'
import { refused } from './refusal.ts'

/** A client, as people recognise it; one that is gone by what its id says. */
export const shownClient = (
  id: string,
  client: Client | undefined,
): Pick<AskingClient, 'name' | 'verified' | 'publishedBy'> => {
  if (client) {
    return {
      ...(client.name === undefined ? {} : { name: client.name }),
      verified: client.source === 'configured',
      ...(client.document === undefined ? {} : { publishedBy: publisher(client) }),
    }
  }
  if (!looksLikeClientIdUrl(id) || !URL.canParse(id)) return { verified: false }
  return { verified: false, publishedBy: { domain: new URL(id).host, onlyLocal: false } }
}

export const askingClient = (
  client: Client,
  { redirectKind, redirectHost }: Pick<AuthorizationRequest, 'redirectKind' | 'redirectHost'>,
): AskingClient => ({
  ...shownClient(client.id, client),
  redirectKind,
  redirectHost,
})

const publisher = (client: Client): NonNullable<AskingClient['publishedBy']> => ({
  domain: new URL(client.id).host,
  // Then no redirect shows that it is the domain's app: any program on a computer can pose as it.
  onlyLocal: redirectsOf(client, {}).every(({ kind }) => kind !== 'https'),
})

export interface Asked {
  readonly client: AskingClient
  /** What each scope that was asked for allows, by resource. */
  readonly resources: (ticked: ResourceScopes, before: ResourceScopes) => readonly AskedResource[]
}

/**
 * The client as it is now, for whom an interaction was begun a while ago.
 * @throws PageProblem where it has gone meanwhile, or has that redirect URI no more: then nobody is sent there
 */
export const readClient = async (
  server: ServerContext,
  { clientId, redirectUri }: Pick<AuthorizationRequest, 'clientId' | 'redirectUri'>,
): Promise<Client> => {
  const [stored] = (await server.records.get(clientRef(clientId))).values
  const client = knownClient(server, clientId, stored)?.value
  if (!client) {
    refused(server, 'the client has gone', { clientId })
    throw new PageProblem('client_unknown', 400)
  }
  if (findRedirectUri(client.redirectUris, redirectUri, server)) return client
  refused(server, 'the redirect_uri has gone', { clientId })
  throw new PageProblem('redirect_refused', 400)
}

/**
 * Who asks for what, as every page of an interaction shows it.
 * @throws PageProblem where the client, its redirect URI or a resource has gone meanwhile
 */
export const readAsked = async (server: ServerContext, request: AuthorizationRequest): Promise<Asked> => {
  const client = await readClient(server, request)
  const asked = Object.entries(request.resources).map(([identifier, scopes]) => {
    const resource = findResource(server.resources, identifier)
    if (resource) return { resource, scopes }
    refused(server, 'the resource has gone', { clientId: request.clientId })
    throw new PageProblem('client_unknown', 400)
  })
  return {
    client: askingClient(client, request),
    resources: (ticked, before) =>
      asked.map(({ resource, scopes }, index) => ({
        identifier: resource.identifier,
        ...(resource.name === undefined ? {} : { name: resource.name }),
        scopes: scopes.map((scope) => ({
          ...comesWith(resource, scopes, scope),
          value: tickedValue(index, scope),
          scope,
          description: resource.scopes[scope] ?? scope,
          ticked: ticked[resource.identifier]?.includes(scope) ?? false,
          before: before[resource.identifier]?.includes(scope) ?? false,
        })),
      })),
  }
}

/** The nearest of the others that implies it: ticking that one is enough. */
const comesWith = (resource: Resource, scopes: readonly string[], scope: string): { readonly comesWith?: string } => {
  const size = (each: string) => withImplied([each], resource.implies).length
  const [nearest] = scopes
    .filter(
      (each) => each !== scope && size(each) > size(scope) && withImplied([each], resource.implies).includes(scope),
    )
    .sort((a, b) => size(a) - size(b))
  return nearest === undefined ? {} : { comesWith: resource.scopes[nearest] ?? nearest }
}

/** Two resources may have scopes of one name. No scope has a space in it. */
const tickedValue = (index: number, scope: string): string => (index === 0 ? scope : `${index} ${scope}`)

/**
 * What stayed ticked, of what was asked for, with what that implies. A resource of which nothing did is not granted at all.
 * @param values of the form's `scope`
 */
export const tickedResources = (
  server: ServerContext,
  { resources }: AuthorizationRequest,
  values: readonly string[],
): ResourceScopes =>
  Object.fromEntries(
    Object.entries(resources).flatMap(([resource, scopes], index) => {
      const chosen = scopes.filter((scope) => values.includes(tickedValue(index, scope)))
      const all = withImplied(chosen, findResource(server.resources, resource)?.implies)
      const ticked = scopes.filter((scope) => all.includes(scope))
      return ticked.length > 0 || scopes.length === 0 ? [[resource, ticked]] : []
    }),
  )
