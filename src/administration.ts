import {
  type AccountInformation,
  type AccountPage,
  type DeletedAccount,
  deleteAccount,
  findAccount,
  getAccount,
  listAccounts,
} from './authorization-server/account-administration.ts'
import {
  type ChangedClient,
  type ClientInformation,
  type ClientPage,
  type CreatedClient,
  createClient,
  deleteClient,
  getClient,
  listClients,
  type NewClient,
  updateClient,
} from './authorization-server/clients.ts'
import type { ServerContext } from './authorization-server/context.ts'
import { type GrantOwner, type GrantPage, listGrants } from './authorization-server/grant-list.ts'
import { revokeGrantById } from './authorization-server/grants.ts'
import type { KeyInformation, RotateOptions } from './keys/key-information.ts'

/** What an operator does besides serving. */
export interface Administration {
  readonly accounts: AccountAdministration
  readonly grants: GrantAdministration
  readonly clients: ClientAdministration
  readonly keys: KeyAdministration
}

export interface AccountAdministration {
  /** All accounts, in pages. @param cursor of the page before */
  list(cursor?: string): Promise<AccountPage>
  get(id: string): Promise<AccountInformation | undefined>
  /** The account of a person of a provider. */
  find(identity: { readonly issuer: string; readonly subject: string }): Promise<AccountInformation | undefined>
  /**
   * Deletes an account with all that is known of its person, here and at the provider, and ends all tokens at once, on every node. Undefined where
   * there is no such account. What failed half-way is finished by deleting it again.
   */
  delete(id: string): Promise<DeletedAccount | undefined>
}

export interface GrantAdministration {
  /**
   * The live grants of a person or of a client, in pages: also those that were exchanged from them.
   * @param owner the `sub` of the person's tokens; or an account; or a client
   * @param cursor of the page before
   */
  list(owner: GrantOwner, cursor?: string): Promise<GrantPage>
  /** Ends a grant with all its tokens, on every node. False where there is no such grant. */
  revoke(grant: string): Promise<boolean>
}

export interface ClientAdministration {
  /** Adds a client that you know. @throws ConfigurationError */
  create(client: NewClient): Promise<CreatedClient>
  get(id: string): Promise<ClientInformation | undefined>
  /**
   * Replaces what a client of `create` may do: what is left out is gone. Its id and its secret stay, and so does what people granted to it. Every node
   * goes by it at once. Undefined where there is no such client.
   * @throws ConfigurationError; Error for a client of the configuration, and for one that describes itself
   */
  update(id: string, client: ChangedClient): Promise<CreatedClient | undefined>
  /** All clients, those that registered themselves too, in pages. @param cursor of the page before */
  list(cursor?: string): Promise<ClientPage>
  /** Ends a client with all its tokens, on every node. False where there is no such client. @throws Error for one of the configuration */
  delete(id: string): Promise<boolean>
}

export interface KeyAdministration {
  list(): Promise<readonly KeyInformation[]>
  /**
   * Makes a new key, which all nodes know before it is used. Asked for again, or by several at once, it is the same one.
   * @throws SigningKeysConfigured where the keys that sign are yours
   */
  rotate(options?: RotateOptions): Promise<KeyInformation>
}

export const createAdministration = (open: () => Promise<ServerContext>): Administration => ({
  accounts: {
    list: async (cursor) => listAccounts(await open(), cursor),
    get: async (id) => getAccount(await open(), id),
    find: async (identity) => findAccount(await open(), identity),
    delete: async (id) => deleteAccount(await open(), id),
  },
  grants: {
    list: async (owner, cursor) => listGrants(await open(), owner, cursor),
    revoke: async (grant) => revokeGrantById(await open(), grant, 'operator'),
  },
  clients: {
    create: async (client) => createClient(await open(), client),
    get: async (id) => getClient(await open(), id),
    update: async (id, client) => updateClient(await open(), id, client),
    list: async (cursor) => listClients(await open(), cursor),
    delete: async (id) => deleteClient(await open(), id),
  },
  keys: {
    list: async () => (await open()).keys.list(),
    rotate: async (options) => (await open()).keys.rotate(options),
  },
})
