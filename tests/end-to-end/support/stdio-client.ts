import type { RunningProcess } from '../../support/process.ts'

interface Reply {
  readonly id?: number
  readonly result?: Record<string, unknown>
  readonly error?: { readonly code: number; readonly message: string }
}

/** Speaks MCP to a program by its stdin and stdout, as a desktop application does. */
export interface StdioClient {
  initialize(): Promise<Record<string, unknown>>
  /** @returns the tool's structured content @throws {Error} with the JSON-RPC error or the tool's words */
  call(tool: string, args?: Record<string, unknown>): Promise<Record<string, unknown>>
}

export function createStdioClient(process: RunningProcess): StdioClient {
  let id = 0
  async function request(method: string, params: Record<string, unknown>): Promise<Record<string, unknown>> {
    const mine = ++id
    process.write(`${JSON.stringify({ jsonrpc: '2.0', id: mine, method, params })}\n`)
    const line = await process.line(new RegExp(`^(?=.*"id":${mine}[,}])(?=.*"(?:result|error)":).*$`), 60_000)
    const reply = JSON.parse(line[0]) as Reply
    if (reply.error) throw new Error(`${method}: ${reply.error.message}`)
    return reply.result ?? {}
  }
  return {
    async initialize() {
      const clientInfo = { name: 'desktop', version: '1.0.0' }
      const result = await request('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo })
      process.write(`${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' })}\n`)
      return result
    },
    async call(name, args = {}) {
      const { structuredContent, isError, ...rest } = await request('tools/call', { name, arguments: args })
      if (isError === true) throw new Error(`${name}: ${JSON.stringify(rest)}`)
      return structuredContent as Record<string, unknown>
    },
  }
}
