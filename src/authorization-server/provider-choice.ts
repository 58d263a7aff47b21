import type { NamedProvider } from '../upstream/provider.ts'
import type { ServerContext } from './context.ts'
import { isVisit, type OpenInteraction } from './interaction.ts'

/** The providers that one may choose from in an interaction. */
export const offeredProviders = (server: ServerContext, open: OpenInteraction): readonly NamedProvider[] => {
  if (!isVisit(open)) return server.providers
  const { purpose, provider, among } = open.value.request
  if (purpose === 'add') return server.providers.filter(({ id }) => id === provider)
  return among ? server.providers.filter(({ id }) => among.includes(id)) : server.providers
}

/** Where the people of an address's domain sign in. It says nothing of whether there is such a person. */
export const providerOfEmail = (
  server: ServerContext,
  open: OpenInteraction,
  email: string,
): NamedProvider | undefined => {
  const domain = /@([^@\s]+)$/.exec(email)?.[1]?.toLowerCase()
  const id = domain === undefined ? undefined : server.emailDomains.get(domain)
  return id === undefined ? undefined : offeredProviders(server, open).find((provider) => provider.id === id)
}

/** The provider for whom the client says that it is about; not where the person wants to choose. */
export const hintedProvider = (server: ServerContext, open: OpenInteraction): NamedProvider | undefined => {
  const { request, switching } = open.value
  if (switching || request.loginHint === undefined || request.prompt.includes('select_account')) return undefined
  return providerOfEmail(server, open, request.loginHint)
}
