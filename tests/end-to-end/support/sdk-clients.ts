import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import type { Application } from './oauth-client.ts'

/** Asks the application's person, and gives what came back to its redirect URI. */
export type Approve = () => Promise<URLSearchParams>

/** A tool's answer: its structured content. */
export type Answer = Record<string, unknown>

export interface McpClient {
  call(tool: string, args?: Record<string, unknown>): Promise<Answer>
  /** Hands the result of an authorization to the connection, as a host does after a step-up. */
  finish(answer: URLSearchParams): Promise<void>
  close(): Promise<void>
}

const information = { name: 'end-to-end', version: '1.0.0' }

/** Connects with the v1 SDK; on the first 401 the person is asked. */
export async function connectV1(url: string, application: Application, approve: Approve): Promise<McpClient> {
  const open = async (transport: TransportV1) => {
    const client = new ClientV1(information)
    // The SDK's own declarations don't hold under exactOptionalPropertyTypes.
    await client.connect(transport as Parameters<ClientV1['connect']>[0])
    return client
  }
  const transport = () => new TransportV1(new URL(url), { authProvider: application })
  let used = transport()
  let client: ClientV1
  try {
    client = await open(used)
  } catch (error) {
    if (!isUnauthorized(error)) throw error
    await used.finishAuth((await approve()).get('code') ?? '')
    used = transport()
    client = await open(used)
  }
  return {
    call: async (name, args = {}) => content(await client.callTool({ name, arguments: args })),
    finish: (answer) => used.finishAuth(answer.get('code') ?? ''),
    close: () => client.close(),
  }
}

export interface V2Options {
  /** `auto` speaks 2026-07-28 where the server does. */
  readonly negotiation?: 'legacy' | 'auto'
}

/** Connects with the v2 SDK; on the first 401 the person is asked. The SDK checks `iss`. */
export async function connectV2(
  url: string,
  application: Application,
  approve: Approve,
  options: V2Options = {},
): Promise<McpClient> {
  const open = async (transport: TransportV2) => {
    const client = new ClientV2(information, { versionNegotiation: { mode: options.negotiation ?? 'auto' } })
    await client.connect(transport)
    return client
  }
  const transport = () => new TransportV2(new URL(url), { authProvider: application })
  let used = transport()
  let client: ClientV2
  try {
    client = await open(used)
  } catch (error) {
    if (!isUnauthorized(error)) throw error
    await used.finishAuth(await approve())
    used = transport()
    client = await open(used)
  }
  return {
    call: async (name, args = {}) => content(await client.callTool({ name, arguments: args })),
    finish: (answer) => used.finishAuth(answer),
    close: () => client.close(),
  }
}

/** Both SDKs say by this that a person must act; v2 may wrap it. */
export function isUnauthorized(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return (
    error.constructor.name === 'UnauthorizedError' || error.name === 'UnauthorizedError' || isUnauthorized(error.cause)
  )
}

function content(result: unknown): Answer {
  const { structuredContent, isError, ...rest } = result as { structuredContent?: Answer; isError?: boolean }
  if (isError === true) throw new Error(`the tool failed: ${JSON.stringify(rest)}`)
  return structuredContent ?? rest
}
