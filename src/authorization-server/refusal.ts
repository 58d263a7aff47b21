import type { ServerContext } from './context.ts'

/** Every refusal is an audit event, with a reason that an operator can act on. */
export const refused = (
  server: ServerContext,
  reason: string,
  about: { readonly clientId?: string; readonly interaction?: string } = {},
): void => server.audit({ type: 'authorization.refused', reason, ...about })
