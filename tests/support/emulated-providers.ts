import { startEmulators } from './emulate.ts'

/** This server's credentials at each emulated provider. */
export const emulatedClient = { clientId: 'me', clientSecret: 'a-secret-of-the-app' }
/** The tenant that the emulator of Entra puts everybody in. */
export const emulatedTenant = '9188040d-6c67-4c5b-b112-36a304b66dad'

/** GitHub, Google, Entra and Okta, with a person each: `alice` at GitHub, `alice@example.com` at the others. */
export const startEmulatedProviders = (redirectUris: readonly string[]) => {
  const { clientId, clientSecret } = emulatedClient
  const app = { client_id: clientId, client_secret: clientSecret, name: 'Me', redirect_uris: redirectUris }
  return startEmulators([
    {
      service: 'github',
      baseUrl: 'https://github.com',
      also: ['https://api.github.com'],
      seed: {
        users: [{ login: 'alice', name: 'Alice Example', email: 'alice@example.com' }, { login: 'bob' }],
        orgs: [{ login: 'acme', name: 'Acme', members: [{ login: 'alice' }] }],
        oauth_apps: [app],
      },
    },
    {
      service: 'google',
      baseUrl: 'https://accounts.google.com',
      seed: { users: [{ email: 'alice@example.com', name: 'Alice Example', hd: 'example.com' }], oauth_clients: [app] },
    },
    {
      service: 'microsoft',
      baseUrl: 'https://login.microsoftonline.com',
      seed: { users: [{ email: 'alice@example.com', name: 'Alice Example' }], oauth_clients: [app] },
    },
    {
      service: 'okta',
      baseUrl: 'https://example.okta.com',
      seed: {
        users: [{ login: 'alice@example.com', email: 'alice@example.com', first_name: 'Alice', last_name: 'Example' }],
        authorization_servers: [{ id: 'default', name: 'default', audiences: ['api://default'] }],
        oauth_clients: [{ ...app, auth_server_id: 'default' }],
      },
    },
  ])
}
