/** What the bench uses of a package that brings no types. */
declare module 'oidc-provider' {
  import type { IncomingMessage, ServerResponse } from 'node:http'

  interface Model {
    save(): Promise<string>
  }

  export class Provider {
    constructor(issuer: string, configuration: object)
    callback(): (request: IncomingMessage, response: ServerResponse) => void
    Client: { find(id: string): Promise<object | undefined> }
    Grant: new (
      properties: object,
    ) => Model & { addResourceScope(resource: string, scope: string): void; addOIDCScope(scope: string): void }
    RefreshToken: new (
      properties: object,
    ) => Model
    AccessToken: new (
      properties: object,
    ) => Model
    AuthorizationCode: new (
      properties: object,
    ) => Model
    ResourceServer: new (
      identifier: string,
      data: object,
    ) => object
  }
}
