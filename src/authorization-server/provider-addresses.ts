import type { ServerContext } from './context.ts'

/** Where a provider sends the browser back to. */
export const callbackOf = ({ endpoints }: Pick<ServerContext, 'endpoints'>, provider: string): string =>
  `${endpoints.callback}/${provider}`

/** Where the provider of that id tells this server of a logout. */
export const logoutAddress = ({ endpoints }: Pick<ServerContext, 'endpoints'>, provider: string): string =>
  `${endpoints.logout}/${provider}`
