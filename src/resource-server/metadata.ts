import { dpopAlgorithms } from '../oauth/dpop-proof.ts'
import type { Resource } from '../oauth/resource.ts'
import { publicCors, publicPreflightResponse } from './cors.ts'

/** @see RFC 9728 §2 */
const protectedResourceMetadata = (resource: Resource, authorizationServers: readonly string[]) => ({
  resource: resource.identifier,
  ...(resource.name === undefined ? {} : { resource_name: resource.name }),
  ...(authorizationServers.length === 0 ? {} : { authorization_servers: authorizationServers }),
  // The least that is useful, not all that exists: clients ask for every scope that they read here.
  ...(resource.defaultScopes.length === 0 ? {} : { scopes_supported: resource.defaultScopes }),
  bearer_methods_supported: resource.dpopBoundAccessTokensRequired ? [] : ['header'],
  dpop_signing_alg_values_supported: dpopAlgorithms,
  ...(resource.dpopBoundAccessTokensRequired ? { dpop_bound_access_tokens_required: true } : {}),
})

/** Where a resource's metadata is: the well-known path goes between the host and the resource's own path. @see RFC 9728 §3.1 */
export const metadataUrl = (resource: string): string => {
  const { origin, pathname, search } = new URL(resource)
  return `${origin}${wellKnown}${pathname === '/' ? '' : pathname}${search}`
}

export interface MetadataRoutes {
  /** True for the paths that `respond` answers. */
  handles(pathname: string): boolean
  respond(request: Request): Promise<Response | undefined>
}

/** Signs what the metadata says, so that who fetched it through others can tell that it is so. Rejects where it can't now. */
export type SignMetadata = (claims: Readonly<Record<string, unknown>>) => Promise<string>

/**
 * Serves the metadata of resources. A single resource's is also at the root, where some clients look first; with several, the root is
 * only that of a resource without a path, because a document for another resource than the one asked for is refused by clients.
 */
export const createMetadataRoutes = (
  resources: readonly Resource[],
  authorizationServers: readonly string[],
  sign?: SignMetadata,
): MetadataRoutes => {
  const documents = resources.map((resource) => {
    const { host, pathname, search } = new URL(metadataUrl(resource.identifier))
    return { host, pathname, search, metadata: protectedResourceMetadata(resource, authorizationServers) }
  })
  const [first] = documents
  if (first && resources.length === 1 && first.pathname !== wellKnown) {
    documents.push({ ...first, pathname: wellKnown })
  }
  const paths = new Set(documents.map(({ pathname }) => pathname))

  return {
    handles: (pathname) => paths.has(pathname),

    async respond(request) {
      // The name of a host can be such that no URL has it.
      const url = URL.canParse(request.url) ? new URL(request.url) : undefined
      if (!url) return new Response(null, { status: 400, headers: { ...publicCors } })
      const here = documents.filter(({ pathname }) => pathname === url.pathname)
      if (here.length === 0) return undefined
      if (request.method === 'OPTIONS') return publicPreflightResponse()
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        return new Response(null, { status: 405, headers: { Allow: 'GET, HEAD, OPTIONS', ...publicCors } })
      }
      // The host only chooses among configured resources; it never enters a document.
      const host = request.headers.get('host') ?? url.host
      const found = here.length === 1 ? here[0] : here.find((each) => each.host === host && each.search === url.search)
      if (!found) return undefined
      // Without a signature it is metadata still: an outage of ours must not keep clients from finding where to go.
      const signed = await sign?.(found.metadata).catch(() => undefined)
      const body = JSON.stringify({ ...found.metadata, ...(signed === undefined ? {} : { signed_metadata: signed }) })
      return new Response(request.method === 'HEAD' ? null : body, {
        headers: { 'Content-Type': 'application/json', 'Cache-Control': 'public, max-age=300', ...publicCors },
      })
    },
  }
}

const wellKnown = '/.well-known/oauth-protected-resource'
