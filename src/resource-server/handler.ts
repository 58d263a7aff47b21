import type { AccessToken, UpstreamClaims } from '../identity/access-token.ts'

/**
 * What the MCP SDKs call `AuthInfo`, both lines of them: a copy of its form, so that neither is imported. Fresh for each request;
 * `extra.countersign` is the very object that `getAccessToken()` answers.
 */
export interface AuthInfo {
  token: string
  clientId: string
  scopes: string[]
  /** Seconds since the epoch. */
  expiresAt: number
  resource: URL
  resourceMetadataUrl: string
  extra: Record<string, unknown>
}

/** What a handler behind the gate gets with its request. */
export interface HandlerContext<Upstream = UpstreamClaims> {
  authInfo: AuthInfo
  accessToken: AccessToken<Upstream>
  /** The request's JSON body where it was read already, to be decided on: then the request's own body is used up. */
  parsedBody?: unknown
}

/** A handler as the SDK's `createMcpHandler` makes it, or a function of the same form. */
export type FetchHandler<Upstream = UpstreamClaims> = FetchObject<Upstream> | FetchFunction<Upstream>

export interface FetchObject<Upstream = UpstreamClaims> {
  fetch(request: Request, context: HandlerContext<Upstream>): Response | Promise<Response>
}

export type FetchFunction<Upstream = UpstreamClaims> = (
  request: Request,
  context: HandlerContext<Upstream>,
) => Response | Promise<Response>

/** What a host knows about a request besides the request. */
export interface RequestInfo {
  /** Of the socket; never from a header that anybody can send. */
  readonly remoteAddress?: string | undefined
  /** The JSON body, where the host read it already. */
  readonly parsedBody?: unknown
}

/** The part of a `Request` that the gate looks at; adapters make it of what they have, without building a whole one. */
export interface GateRequest {
  readonly method: string
  readonly url: string
  readonly headers: { get(name: string): string | null }
  readonly body: ReadableStream<Uint8Array> | null
  text(): Promise<string>
}

/** A JSON-RPC message as it may be sent to the caller: the very same, or changed, for instance without what the caller may not see. */
export interface MessageFilter {
  (message: unknown): Promise<unknown>
  /** Whether it may change a message of this text; without it, every message is parsed and asked about. */
  readonly concerns?: (text: string) => boolean
  /** What is compressed or no message may go as it is; otherwise it must not go. */
  readonly ifReadable?: boolean
}

/** Session ids as the server behind the gate knows them, and as its callers do. @see MCP 2025-11-25, session management */
export interface SessionIds {
  /** The server's id in this request; undefined where it has none, or where one has no meaning. */
  readonly requested: string | undefined
  /** What the caller gets in place of the server's id. */
  issue(id: string): string
  /** What its event streams say besides messages; undefined where there is nothing of the kind, since 2026-07-28. */
  readonly events: EventIds | undefined
}

/** What an event stream says of itself, as the server behind the gate does and as its callers see it. */
export interface EventIds {
  /** The server's event id in the `Last-Event-ID` of this request, undefined where it has none. @see MCP 2025-11-25, resumability */
  readonly requested: string | undefined
  /** What the caller gets in place of the server's event id. */
  issue(id: string): string
  /**
   * What the caller gets in place of an `endpoint` event's URL. @see MCP 2024-11-05, HTTP with SSE
   * @throws Error where the URL doesn't say which session it is for
   */
  issueEndpoint(url: string): string
}

/** What a response must undergo on its way to the caller. */
export interface ResponseGuard {
  /** For each message in it; undefined where the response may go as it is. */
  readonly filter: MessageFilter | undefined
  readonly session: SessionIds | undefined
  /** Whether a body that is neither JSON nor an event stream must not go: the request was for messages alone. */
  readonly messagesOnly: boolean
  /**
   * Puts a response that may go on for long under watch.
   * @param end is called once, when it must end: the token has expired or was revoked, or this process stops
   * @returns takes it off again; call it when the response has ended by itself
   */
  watch(end: EndStream): () => void
  /** Says that the handler is at work, so that a process that is to stop waits for it. @returns says that it is done */
  begin(): () => void
}

/** @param comeBack where the client may open the stream again: in how many milliseconds; it is told so, if it can be */
export type EndStream = (comeBack?: number) => void
