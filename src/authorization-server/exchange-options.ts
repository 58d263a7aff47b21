import * as z from 'zod'

/** What a client may exchange people's tokens for. Denied is whatever is not said here. @see RFC 8693 */
export interface ExchangeSettings {
  /** Resources that it serves: people's tokens for them are addressed to it, and it may exchange them. Paths or URLs. */
  readonly serves?: readonly string[] | undefined
  /** Ids of clients: tokens that people granted to these it may exchange, whatever they are for. `*` is every client. */
  readonly from?: readonly string[] | undefined
  /** What it may get of other resources than that of the token: the path or the URL of a resource, and scopes of it. */
  readonly to?: Readonly<Record<string, readonly string[]>> | undefined
  /** Ids of clients that it may name as the actor, by an access token of theirs. */
  readonly actors?: readonly string[] | undefined
  /**
   * Ids of providers: their tokens of the people who call a resource that it serves it may have (`audience` is then the provider's issuer). It can do
   * there whatever these tokens allow.
   */
  readonly upstream?: readonly string[] | undefined
  /** True: where it names no actor, nobody sees that it acts and not the person. Default false: then it is the actor itself. */
  readonly impersonates?: boolean | undefined
}

const texts = z.array(z.string().min(1)).min(1)

/** @internal */
export const exchangeSchema = z.strictObject({
  serves: texts.optional(),
  from: texts.optional(),
  to: z.record(z.string(), texts).optional(),
  actors: texts.optional(),
  upstream: texts.optional(),
  impersonates: z.boolean().optional(),
})
