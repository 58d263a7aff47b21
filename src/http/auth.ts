import type { AccessToken, UpstreamClaims } from '../identity/access-token.ts'
import type { TokenSource } from '../identity/context.ts'
import type { AuthInfo, FetchHandler, GateRequest, RequestInfo, ResponseGuard } from '../resource-server/handler.ts'
import type { Closing } from './stopping.ts'

/** What stands in front of handlers: made by `countersign()` or `resourceServer()`, taken by the adapters. */
export interface Auth<Upstream = UpstreamClaims> extends TokenSource<Upstream> {
  /** True for the paths that `respond` answers, so that a host leaves all others alone. */
  handles(pathname: string): boolean
  /** Answers a request to one of the server's own routes; undefined for any other. */
  respond(request: Request, info?: RequestInfo): Promise<Response | undefined>
  /**
   * Puts the gate in front of a handler: what comes out takes a request and answers it.
   * @param path the resource's path, or its whole URL
   * @throws Error at once, if no resource is configured there
   */
  gate(path: string, handler: FetchHandler<Upstream>): (request: Request, info?: RequestInfo) => Promise<Response>
  /**
   * The gate alone, for hosts that dispatch themselves. Hand on what `forward` makes of the request, run what follows inside
   * `withAccessToken`, and send what `finish` makes of its response.
   * @throws Error if no resource is configured there
   */
  admit(path: string, request: GateRequest, info?: RequestInfo): Promise<Admission<Upstream>>
  /** Makes a server factory refuse to run where the gate is not in front. */
  server<Arguments extends readonly unknown[], Server>(
    factory: (...args: Arguments) => Server,
  ): (...args: Arguments) => Server
  /** Resolves when requests can be served. */
  ready(): Promise<void>
  /**
   * Stops: what is new is answered with 503, what is under way is waited for, streams end with a hint when to come again. Resolves when all
   * has ended, within the bound. Stop listening first: `server.close()`. Calling it twice waits for the same end.
   */
  close(closing?: Closing): Promise<void>
}

export type Admission<Upstream = UpstreamClaims> =
  | {
      readonly admitted: true
      readonly accessToken: AccessToken<Upstream>
      readonly authInfo: AuthInfo
      /** The JSON body, if it was read. */
      readonly parsedBody: unknown
      /** Headers that the page which the request came from needs to read the response; none for other requests. */
      readonly responseHeaders: Readonly<Record<string, string>>
      /** The request as the handler may see it: with the server's own session id in place of the caller's. */
      forward(request: Request): Request
      /** The response as it may be sent: lists without what the caller may not use, streams that end with their token, and those headers. */
      finish(response: Response): Response | Promise<Response>
      /** The same for hosts whose responses are no `Response`. */
      readonly guard: ResponseGuard
    }
  | { readonly admitted: false; readonly response: Response }
