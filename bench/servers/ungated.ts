/** The MCP server with no gate at all; a token that is sent is ignored. */
import { createServer } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { listen, report } from '../harness/measured.ts'
import { notesHandler } from './notes.ts'

const mcp = notesHandler(() => 'anybody')
const app = new Hono()
app.all('/mcp', (context) => mcp.fetch(context.req.raw))

const server = createServer(getRequestListener(app.fetch))
report(await listen(server))
