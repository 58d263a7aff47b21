import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import { sqlite } from 'countersign/store/sqlite'
import { localAccounts } from 'countersign/upstream/local'
import { notesServer } from './notes.ts'

// Runs the notes server with nothing set up: PORT, COUNTERSIGN_DATA and COUNTERSIGN_DEMO_PASSWORD are all that it looks at.

const data = process.env.COUNTERSIGN_DATA ?? '.countersign'
const port = Number(process.env.PORT ?? 8787)

const demoPassword = async (): Promise<string> => {
  if (process.env.COUNTERSIGN_DEMO_PASSWORD) return process.env.COUNTERSIGN_DEMO_PASSWORD
  const file = join(data, 'demo-password')
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch {
    const password = randomBytes(9).toString('base64url')
    await writeFile(file, `${password}\n`, { mode: 0o600, flag: 'wx' })
    return password
  }
}

const instructions = (url: string, password: string) => `
  Sign in as   demo
  Password     ${password}

  Claude Code  claude mcp add --transport http notes ${url}
  VS Code      code --add-mcp '{"name":"notes","type":"http","url":"${url}"}'
  Inspector    npx @modelcontextprotocol/inspector --server-url ${url} --transport http
  mcp-remote   npx mcp-remote ${url}

  Ctrl-C stops it. Who is signed in stays so.
`

const refuse = (setting: string, error: unknown): never => {
  console.error(`${setting} can't be used: ${(error as Error).message}.`)
  process.exit(1)
}

await mkdir(data, { recursive: true, mode: 0o700 }).catch((error: unknown) => refuse('COUNTERSIGN_DATA', error))

// The address is a part of the issuer, so the port is taken before anything is made of it.
const server = createServer()
try {
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
} catch (error) {
  console.error(`Port ${process.env.PORT ?? port} can't be used: ${(error as Error).message}. Set PORT to another one.`)
  process.exit(1)
}
const url = `http://localhost:${(server.address() as AddressInfo).port}`

const people = localAccounts()
const { app, auth } = notesServer({ url, upstream: people, store: sqlite(join(data, 'countersign.db')) })
await auth.ready()

const password = await demoPassword()
try {
  if (await people.accounts.find('demo')) await people.accounts.setPassword('demo', password)
  else await people.accounts.create({ username: 'demo', password, name: 'Demo User', email: 'demo@example.com' })
} catch (error) {
  if (!(error instanceof TypeError)) throw error
  refuse('COUNTERSIGN_DEMO_PASSWORD', error)
}

server.on('request', getRequestListener(app.fetch))
console.log(instructions(`${url}/mcp`, password))
console.log(`ready ${url}/mcp`)

// Nothing new comes in; what is under way is finished; then the rest is cut off.
const stop = async () => {
  server.close()
  await auth.close({ within: 5_000 })
  server.closeAllConnections()
  process.exit(0)
}
process.once('SIGINT', stop)
process.once('SIGTERM', stop)
