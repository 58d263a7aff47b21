import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Command, Ready, Usage } from './measured.ts'

export interface ServerProcess {
  readonly ready: Ready
  usage(): Promise<Usage>
  ask<Answer>(question: unknown): Promise<Answer>
  stop(): Promise<void>
}

/** Starts one of `bench/servers/` as a process of its own. @throws {Error} if it isn't there or ends before it is ready. */
export async function startServer(name: string, env: Readonly<Record<string, string>> = {}): Promise<ServerProcess> {
  const file = fileURLToPath(new URL(`../servers/${name}.js`, import.meta.url))
  if (!existsSync(file)) throw new Error(`bench/servers/${name}.ts is not there: nothing to measure`)
  // What a server logs by default it logs here, too; nobody reads it.
  const stdio = ['ignore', 'ignore', 'inherit', 'ipc'] as const
  const child = fork(file, { env: { ...process.env, NODE_ENV: 'production', ...env }, execArgv: [], stdio: [...stdio] })
  const exchange = async <Answer>(type: string, command?: Command): Promise<Answer> => {
    const answer = next<Answer>(child, name, type)
    if (command !== undefined) child.send(command)
    return answer
  }
  return {
    ready: await exchange<Ready>('ready'),
    usage: () => exchange<Usage>('usage', 'usage'),
    async ask<Answer>(question: unknown) {
      const { reply } = await exchange<{ reply: Answer }>('reply', { ask: question })
      return reply
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const gone = once(child, 'exit')
      child.send('stop')
      const timer = setTimeout(() => child.kill('SIGKILL'), 5_000)
      await gone
      clearTimeout(timer)
    },
  }
}

function next<Message>(child: ChildProcess, name: string, type: string): Promise<Message> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: { type?: unknown }) => {
      if (message.type === type) finish(() => resolve(message as Message))
    }
    const onExit = (code: number | null) => finish(() => reject(new Error(`bench/servers/${name} ended with ${code}`)))
    const finish = (act: () => void) => {
      child.off('message', onMessage)
      child.off('exit', onExit)
      act()
    }
    child.on('message', onMessage)
    child.on('exit', onExit)
  })
}
