import type { Client } from '../records/client.ts'
import type { Ref, Stored } from '../records/records.ts'
import type { ServerContext } from './context.ts'

/** A client that was found: in the configuration, or in the store; then with the version of its record. */
export type KnownClient = Stored<Client> | { readonly value: Client; readonly ref?: undefined }

/**
 * The one place that says which client an id means: that of the configuration, else that of the store.
 * @param stored what was read at `clientRef(id)`
 */
export const knownClient = (
  { configuredClients }: Pick<ServerContext, 'configuredClients'>,
  id: string,
  stored: Stored<Client> | undefined,
): KnownClient | undefined => {
  const value = configuredClients.get(id)
  return value ? { value } : stored
}

/** What must be unchanged when something is written for a client: its record, where it has one. */
export const unchangedClient = (client: KnownClient): readonly (Stored<Client> | Ref<Client>)[] =>
  client.ref ? [client] : []
