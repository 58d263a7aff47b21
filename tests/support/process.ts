import { spawn } from 'node:child_process'

export interface ProcessOptions {
  readonly cwd?: string
  /** Set over this process's own environment; `undefined` takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /**
   * Makes it the leader of a process group of its own, to which all signals go, as a terminal's Ctrl-C does. For wrappers (`npm start`)
   * that end without ending what they started.
   */
  readonly group?: boolean
}

export interface ProcessEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface RunningProcess {
  readonly pid: number
  /** All that was printed so far. */
  readonly stdout: string
  readonly stderr: string
  /** Settles when the process has ended and its output was read; never rejects. */
  readonly ended: Promise<ProcessEnd>
  /**
   * Waits for a line of stdout, one that was printed already included; answers the match, so that groups can be read.
   *
   * @throws {Error} with all output if the process ends first, or after `timeout` milliseconds (default 60,000).
   */
  line(pattern: RegExp, timeout?: number): Promise<RegExpExecArray>
  /** Writes to its stdin. */
  write(text: string): void
  signal(signal: NodeJS.Signals): void
  /** SIGTERM, then SIGKILL after `grace` milliseconds (default 10,000). Stopping what has ended is allowed. */
  stop(grace?: number): Promise<ProcessEnd>
}

const running = new Set<(signal: NodeJS.Signals) => void>()
process.once('exit', () => {
  for (const kill of running) kill('SIGKILL')
})

/** Starts a program and collects its output. It is killed when this process ends, if nobody stopped it before. */
export function startProcess(
  command: string,
  args: readonly string[] = [],
  options: ProcessOptions = {},
): RunningProcess {
  const group = options.group === true
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: environment(options.env),
    stdio: 'pipe',
    detached: group,
  })
  const kill = (signal: NodeJS.Signals) => {
    if (!group || child.pid === undefined) return void child.kill(signal)
    try {
      process.kill(-child.pid, signal)
    } catch {
      // The whole group has ended.
    }
  }
  running.add(kill)
  const output = { stdout: '', stderr: '' }
  const listeners = new Set<() => void>()
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
      for (const listener of [...listeners]) listener()
    })
  }
  child.stdin.on('error', () => {}) // The process ended before it read: its end says so.

  let end: ProcessEnd | undefined
  const ended = new Promise<ProcessEnd>((resolve) => {
    const settle = (result: ProcessEnd) => {
      if (end !== undefined) return
      running.delete(kill)
      end = result
      resolve(result)
      for (const listener of [...listeners]) listener()
    }
    child.once('close', (code, signal) => settle({ code, signal }))
    // What it started may hold its output open for ever.
    child.once('exit', (code, signal) => setTimeout(() => settle({ code, signal }), 2_000).unref())
    child.once('error', (error) => {
      output.stderr += `${error.message}\n`
      if (child.pid === undefined) settle({ code: null, signal: null })
    })
  })
  const report = (what: string) =>
    new Error(`${[command, ...args].join(' ')}: ${what}\n--- stdout\n${output.stdout}\n--- stderr\n${output.stderr}`)

  return {
    get pid() {
      if (child.pid === undefined) throw report('did not start')
      return child.pid
    },
    get stdout() {
      return output.stdout
    },
    get stderr() {
      return output.stderr
    },
    ended,
    line(pattern, timeout = 60_000) {
      return new Promise((resolve, reject) => {
        const finish = (act: () => void) => {
          clearTimeout(timer)
          listeners.delete(look)
          act()
        }
        const look = () => {
          const complete = output.stdout.split('\n').slice(0, end === undefined ? -1 : undefined)
          for (const line of complete) {
            const match = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, '')).exec(line)
            if (match !== null) return finish(() => resolve(match))
          }
          if (end !== undefined) finish(() => reject(report(`ended before it printed ${pattern}`)))
        }
        const timer = setTimeout(
          () => finish(() => reject(report(`did not print ${pattern} within ${timeout} ms`))),
          timeout,
        )
        listeners.add(look)
        look()
      })
    },
    write(text) {
      child.stdin.write(text)
    },
    signal(signal) {
      kill(signal)
    },
    async stop(grace = 10_000) {
      if (end !== undefined) return end
      kill('SIGTERM')
      const timer = setTimeout(() => kill('SIGKILL'), grace)
      const result = await ended
      clearTimeout(timer)
      return result
    },
  }
}

function environment(changes: ProcessOptions['env'] = {}): NodeJS.ProcessEnv {
  const merged = { ...process.env, ...changes }
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== undefined))
}
