import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ProcessEnd, type RunningProcess, startProcess } from '../../support/process.ts'
import type { Person } from './sign-in.ts'

export interface ServerOptions {
  /** Default: the example, as `npm start` runs it. Else a script in `servers/`. */
  readonly script?: string
  /** Further settings; they are the script's own affair. */
  readonly env?: Readonly<Record<string, string>>
  /** Default: a new one. */
  readonly data?: string
}

/** A protected MCP server in a process of its own, with a data folder that outlives the process. */
export interface TestServer {
  /** The MCP endpoint, as it printed it. */
  readonly url: string
  readonly origin: string
  /** Where it listens, which behind a balancer is not in its URL. */
  readonly port: number
  readonly data: string
  readonly demo: Person
  readonly process: RunningProcess
  /** Stops the process by a signal, and says how it ended. */
  stop(signal?: NodeJS.Signals): Promise<ProcessEnd>
  /** Starts it again, on the same port and data. */
  start(): Promise<void>
  /** Stops it, and removes its data. */
  dispose(): Promise<void>
}

const newFolder = () => mkdtempSync(join(tmpdir(), 'countersign-e2e-'))
const root = fileURLToPath(new URL('../../../', import.meta.url))
const example = 'examples/start.ts'

export async function startServer({ script, env = {}, data = newFolder() }: ServerOptions = {}): Promise<TestServer> {
  const demo = { username: 'demo', password: 'correct horse battery staple' }
  const path = script === undefined ? example : `tests/end-to-end/servers/${script}`
  const run = async (port: string) => {
    const started = startProcess(process.execPath, ['--import', 'tsx', path], {
      cwd: root,
      env: { ...env, PORT: port, COUNTERSIGN_DATA: join(data, 'data'), COUNTERSIGN_DEMO_PASSWORD: demo.password },
    })
    try {
      const [, url = ''] = await started.line(/^ready (http:\/\/localhost:\d+\/mcp)$/, 110_000)
      const listening = script === undefined ? url : (await started.line(/^listening (\S+)$/))[1]
      return { process: started, url, port: new URL(listening ?? '').port }
    } catch (error) {
      await started.stop(0)
      throw error
    }
  }
  let current = await run('0')
  const { url, port } = current
  const { origin } = new URL(url)

  return {
    url,
    origin,
    port: Number(port),
    data,
    demo,
    get process() {
      return current.process
    },
    async stop(signal = 'SIGTERM') {
      current.process.signal(signal)
      const late = setTimeout(() => current.process.signal('SIGKILL'), 15_000)
      const end = await current.process.ended
      clearTimeout(late)
      return end
    },
    async start() {
      current = await run(port)
    },
    async dispose() {
      await current.process.stop()
      rmSync(data, { recursive: true, force: true })
    },
  }
}
