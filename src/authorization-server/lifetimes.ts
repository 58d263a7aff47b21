import type { Grant } from '../records/grant.ts'
import type { ServerContext } from './context.ts'

type Configured = Pick<ServerContext, 'lifetimes' | 'resources'>

/** Of an access token for this resource, in seconds: the resource's own, or the server's. */
export const accessTokenLifetime = ({ lifetimes, resources }: Configured, resource: string): number =>
  resources.find(({ identifier }) => identifier === resource)?.accessTokenLifetime ?? lifetimes.accessToken

/** Of the longest access token that this grant may have, in seconds. */
export const longestAccessTokenLifetime = (server: Configured, { resources }: Pick<Grant, 'resources'>): number =>
  Math.max(...Object.keys(resources).map((resource) => accessTokenLifetime(server, resource)))
