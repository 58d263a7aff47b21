import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, type TestContext, vi } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { node24 } from '../support/node24.ts'
import { npmTool } from '../support/npm-tool.ts'
import { type RunningProcess, startProcess } from '../support/process.ts'
import { createFormBrowser } from './support/form-browser.ts'
import { openedUrls } from './support/opened-urls.ts'
import { startServer, type TestServer } from './support/server.ts'
import { signIn } from './support/sign-in.ts'

// Real programs, one for each call, on machines that may be busy.
vi.setConfig({ testTimeout: 900_000, hookTimeout: 300_000 })
const GENEROUS = 300_000

interface Answer {
  readonly code: number | null
  readonly result:
    | {
        readonly structuredContent?: Readonly<Record<string, unknown>>
        readonly content?: object
        readonly tools?: object
      }
    | undefined
  readonly error: string
}

/** Somebody's computer: a browser, and what the Inspector keeps there between its runs. */
async function newComputer(server: TestServer, { onTestFinished }: Pick<TestContext, 'onTestFinished'>) {
  const home = mkdtempSync(join(tmpdir(), 'countersign-inspector-cli-'))
  onTestFinished(() => rmSync(home, { recursive: true, force: true }))
  const opened = await openedUrls()
  onTestFinished(() => opened.close())
  const callback = `http://127.0.0.1:${await freePort()}/oauth/callback`
  const browser = createFormBrowser({ away: (url) => url.href.startsWith(`${callback}?`) })
  const program = join(await npmTool('@modelcontextprotocol/inspector', '2.12.0'), '.bin/mcp-inspector')
  const node = await node24()
  const always = ['--callback-url', callback, '--connect-timeout', String(GENEROUS), '--format', 'json']

  const start = (args: readonly string[]): RunningProcess => {
    const child = startProcess(node, [program, '--cli', ...args, ...always], {
      env: { HOME: home, MCP_INSPECTOR_SECRET_STORE: 'file', MCP_AUTO_OPEN_ENABLED: 'true', ...opened.env },
    })
    onTestFinished(async () => void (await child.stop(2_000)))
    return child
  }
  const answerOf = async (child: RunningProcess): Promise<Answer> => {
    const { code } = await child.ended
    const printed = child.stdout.trim()
    const { result } = (printed === '' ? {} : JSON.parse(printed)) as Pick<Answer, 'result'>
    return { code, result, error: child.stderr }
  }

  /** A call that nobody has to be asked for. */
  const run = async (...args: string[]): Promise<Answer> => {
    const before = opened.count
    const answer = await answerOf(start(args))
    expect(opened.count).toBe(before)
    return answer
  }

  /** A call for which it opens a window; whoever sits there approves, and says yes where they are asked in the terminal. */
  const approving = async (...args: string[]): Promise<Answer> => {
    const child = start(args)
    child.write('y\n')
    const window = opened.next(GENEROUS)
    // Where the program ends first, nobody waits for a window.
    window.catch(() => {})
    const request = await Promise.race([window, child.ended.then(() => undefined)])
    // It gives up when it gets no answer within five seconds, and looks at the clock first: a machine may take that long to hand over what was written.
    if (!request && child.stderr.includes('no answer on stdin')) return approving(...args)
    if (!request) throw new Error(`it opened no window: ${child.stderr}`)
    const { end } = await signIn(browser, request, server.demo)
    expect(end.href.startsWith(`${callback}?`), end.href).toBe(true)
    expect((await fetch(end)).status).toBe(200)
    return answerOf(child)
  }
  return { home, run, approving }
}

/** What `whoami` answered. */
const who = ({ result, error }: Answer): Readonly<Record<string, unknown>> => {
  if (!result?.structuredContent) throw new Error(error)
  return result.structuredContent
}

const call = (tool: string, ...args: string[]) => [
  ...['--method', 'tools/call', '--tool-name', tool],
  ...args.flatMap((each) => ['--tool-arg', each]),
]

describe.each([
  { name: 'SDK v2 on Hono', script: 'sdk-v2.ts' },
  { name: 'SDK v1 on Express', script: 'sdk-v1.ts' },
])('the Inspector’s command line, at a server on $name', ({ script }) => {
  let server: TestServer
  beforeAll(async () => {
    server = await startServer({ script })
  })
  afterAll(() => server?.dispose())

  it('2.12: whoami, step-up to notes_add, and calls by what it kept', async (context) => {
    const { home, run, approving } = await newComputer(server, context)
    // It steps up for servers that it has settings of, as those that its page has written.
    const config = join(home, 'mcp.json')
    const notes = { type: 'streamable-http', url: server.url, oauth: { scopes: 'notes:read' } }
    writeFileSync(config, JSON.stringify({ mcpServers: { notes } }))
    const at = ['--config', config, '--server', 'notes']

    const first = await approving(...at, ...call('whoami'))
    const expected = { kind: 'user', issuer: server.origin, resource: server.url }
    expect(who(first)).toMatchObject({ ...expected, scopes: ['notes:read'] })
    const { subject, clientId } = who(first)

    const added = await approving(...at, ...call('notes_add', 'text=by the command line'))
    expect(added.result?.content, added.error).toMatchObject([{ text: 'Added.' }])
    expect(added.error).toContain('needs additional scope: notes:write')

    const second = await run(...at, ...call('whoami'))
    const scopes = ['notes:read', 'notes:write']
    expect(who(second)).toMatchObject({ ...expected, subject, clientId, scopes })
    const listed = await run(...at, '--method', 'tools/list')
    expect(listed.result?.tools).toMatchObject(expect.arrayContaining([expect.objectContaining({ name: 'notes_add' })]))
  })

  it('2.12, with nothing but the URL: it tries a refresh at a 403, which widens nothing, and its session stays', async (context) => {
    const { run, approving } = await newComputer(server, context)
    const at = [server.url, '--transport', 'http']
    const first = await approving(...at, ...call('whoami'))
    expect(who(first)).toMatchObject({ kind: 'user', scopes: ['notes:read'] })

    const refused = await run(...at, ...call('notes_add', 'text=by the command line'))
    expect(refused.code).not.toBe(0)
    expect(refused.error).toContain('AUTHORIZED without authorization code')

    const { subject } = who(first)
    const second = await run(...at, ...call('whoami'))
    expect(who(second)).toMatchObject({ subject, scopes: ['notes:read'] })
  })
})
