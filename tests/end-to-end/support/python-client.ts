import { execFile } from 'node:child_process'
import { existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { canInstallPackages, installPackages } from '../../support/apt.ts'
import { type RunningProcess, startProcess } from '../../support/process.ts'
import { type Unavailable, unavailable } from '../../support/unavailable.ts'

const run = promisify(execFile)
const PYTHON = '/usr/bin/python3'
const VERSION = '2.3.0'
const FOLDER = fileURLToPath(new URL(`../../../node_modules/.cache/countersign/python-mcp@${VERSION}`, import.meta.url))
const SCRIPT = fileURLToPath(new URL('mcp_client.py', import.meta.url))

/** The official client in Python, in an environment of its own; on Debian, as root, what that needs is installed where it is missing. */
export async function findPythonClient(): Promise<{ readonly python: string } | Unavailable> {
  const python = join(FOLDER, 'bin', 'python')
  if (existsSync(python)) return { python }
  if (!(await works('import ensurepip, sys; assert sys.version_info >= (3, 10)'))) {
    if (!canInstallPackages()) return unavailable('no Python 3.10 with venv here: install python3-venv')
    await installPackages('python3', 'python3-venv')
  }
  // Made where it stays: the programs of an environment name its folder. A mark that it is whole is its last step.
  const fresh = `${FOLDER}.new`
  rmSync(fresh, { recursive: true, force: true })
  try {
    await run(PYTHON, ['-m', 'venv', fresh])
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', `mcp==${VERSION}`]
    await run(join(fresh, 'bin', 'python'), pip, { maxBuffer: 1 << 26 })
  } catch (error) {
    return unavailable(`the Python package mcp could not be installed: ${String(error).slice(0, 300)}`)
  }
  // Only its interpreter is used, which finds its packages beside itself.
  renameSync(fresh, FOLDER)
  return { python }
}

const works = (code: string): Promise<boolean> =>
  run(PYTHON, ['-c', code]).then(
    () => true,
    () => false,
  )

export interface PythonClient {
  /** @returns what the tool answered, and the scopes of the token by then; or what went wrong, in `failed` */
  call(
    tool: string,
    args?: object,
  ): Promise<{ answer?: Record<string, unknown>; scope?: string; failed?: string; error?: boolean }>
  /** How often a person was asked so far. */
  readonly asked: number
  readonly clientId: string
  close(): Promise<void>
}

/** @param approve answers an authorization request with the URL that the person came back by */
export async function connectPython(
  python: string,
  url: string,
  redirectUri: string,
  approve: (authorizationUrl: string) => Promise<string>,
): Promise<PythonClient> {
  const program: RunningProcess = startProcess(python, ['-u', SCRIPT, url, redirectUri])
  let read = 0
  let asked = 0

  const next = async (): Promise<Record<string, unknown>> => {
    const pattern = new RegExp(`^(?:.*\\n){${read}}(.*)\\n`)
    for (let waited = 0; waited < 1200; waited++) {
      const line = pattern.exec(program.stdout)?.[1]
      if (line !== undefined) {
        read += 1
        return JSON.parse(line) as Record<string, unknown>
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    throw new Error(`the Python client said nothing more: ${program.stderr.slice(-2000)}`)
  }
  /** The next message that is no question; questions are answered. */
  const answer = async (): Promise<Record<string, unknown>> => {
    for (;;) {
      const message = await next()
      if (typeof message.authorize !== 'string') return message
      asked += 1
      program.write(`${JSON.stringify({ redirected: await approve(message.authorize) })}\n`)
    }
  }

  try {
    const connected = await answer()
    return {
      clientId: String(connected.client),
      get asked() {
        return asked
      },
      async call(tool, args = {}) {
        program.write(`${JSON.stringify({ tool, arguments: args })}\n`)
        return answer()
      },
      async close() {
        program.write('null\n')
        await program.stop()
      },
    }
  } catch (error) {
    await program.stop()
    throw error
  }
}
