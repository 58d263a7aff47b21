import type { Auth } from './http/auth.ts'
import { NoAccessToken, withAccessToken } from './identity/context.ts'
import type { MessageFilter } from './resource-server/handler.ts'

/** What is used of an SDK's transport, v1's or v2's; by its form, and as methods, since each SDK has its own types of messages. */
export interface MessageTransport {
  onmessage?(message: object, extra?: object): void
  send(message: object, options?: object): Promise<void>
}

/**
 * Puts the gate in front of a server on stdio, which has no `Authorization` header: who calls is who the token says that its environment gives it.
 * Each message is decided on as a request is: the token must be good still, the policy applies, lists are filtered, and handlers see the same
 * object. Call it before the transport is connected.
 * @param resource the URL of the resource that the token must be for
 * @param token for instance `process.env.NOTES_TOKEN`; nothing is read that is not named
 * @throws NoAccessToken where there is no token
 */
export const identify = <Transport extends MessageTransport, Upstream>(
  auth: Pick<Auth<Upstream>, 'admit'>,
  resource: string,
  token: string | undefined,
  transport: Transport,
): Transport => {
  if (!token) throw new NoAccessToken('no access token in the environment of this server')
  // What was asked and not answered, with what the answer must undergo.
  const open = new Map<unknown, MessageFilter | undefined>()
  const send = transport.send.bind(transport)
  let handle: MessageTransport['onmessage'] = transport.onmessage
  let turn: Promise<void> = Promise.resolve()

  const receive = async (message: object, extra: object | undefined): Promise<void> => {
    const { id, method } = message as { id?: unknown; method?: unknown }
    const asks = method !== undefined && id !== undefined
    // Whose answer an answer is could not be told.
    if (asks && open.has(id)) return send({ jsonrpc: '2.0', id, error: { code: -32600, message: 'This id is in use' } })
    const admission = await auth.admit(resource, requestOf(resource, token), { parsedBody: message })
    if (!admission.admitted) {
      if (asks) await send({ jsonrpc: '2.0', id, error: await errorOf(admission.response) })
      return
    }
    const { accessToken, authInfo, guard } = admission
    if (asks) open.set(id, guard.filter)
    withAccessToken(accessToken, () => handle?.(message, { ...extra, authInfo }))
  }

  /** Who asked must not wait for ever; what went wrong is not theirs to know. */
  const answerTrouble = async (message: object): Promise<void> => {
    const { id, method } = message as { id?: unknown; method?: unknown }
    if (method === undefined || id === undefined) return
    open.delete(id)
    await send({ jsonrpc: '2.0', id, error: { code: -32603, message: 'Internal error' } })
  }

  // In the order in which they came: a notification may be about the request before it.
  const listen = (message: object, extra?: object): void => {
    turn = turn
      .then(() => receive(message, extra))
      .catch(() => answerTrouble(message))
      // The transport itself is broken: there is nobody left to tell.
      .catch(() => {})
  }
  Object.defineProperty(transport, 'onmessage', {
    get: () => handle && listen,
    set(next: MessageTransport['onmessage']) {
      handle = next
    },
    configurable: true,
    enumerable: true,
  })

  transport.send = async (message: object & { id?: unknown; method?: unknown }, options?: object) => {
    if (message.method !== undefined) return send(message, options)
    const filter = open.get(message.id)
    open.delete(message.id)
    return send(filter ? ((await filter(message)) as object) : message, options)
  }
  return transport
}

const requestOf = (url: string, token: string) => ({
  method: 'POST',
  url,
  headers: { get: (name: string) => (name.toLowerCase() === 'authorization' ? `Bearer ${token}` : null) },
  body: null,
  text: async () => '',
})

const errorOf = async (response: Response): Promise<{ code: number; message: string }> => {
  const body = (await response.json().catch(() => ({}))) as { error?: unknown; error_description?: unknown }
  if (typeof body.error === 'object' && body.error !== null) return body.error as { code: number; message: string }
  const scope = /scope="([^"]*)"/.exec(response.headers.get('www-authenticate') ?? '')?.[1]
  const needed = body.error === 'insufficient_scope' && scope !== undefined ? `: ${scope}` : ''
  return { code: -32001, message: `${String(body.error_description ?? 'The request was refused')}${needed}` }
}
