import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Stands in for the browser command of a program: what it opens is told to the test, which decides what to do with it. */
export interface OpenedUrls {
  /** For the program's environment. */
  readonly env: { readonly BROWSER: string }
  /** The next one that was opened and not asked for yet. */
  next(timeout?: number): Promise<URL>
  /** How many were opened so far. */
  readonly count: number
  /** Those that were opened and not asked for are not wanted any more. */
  forget(): void
  close(): Promise<void>
}

export async function openedUrls(): Promise<OpenedUrls> {
  const opened: URL[] = []
  const waiting: ((url: URL) => void)[] = []
  let count = 0
  const listener = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text
    })
    request.on('end', () => {
      count++
      const url = new URL(body)
      const first = waiting.shift()
      if (first) first(url)
      else opened.push(url)
      response.end()
    })
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const { port } = listener.address() as AddressInfo

  const folder = mkdtempSync(join(tmpdir(), 'countersign-browser-'))
  const script = join(folder, 'browser')
  const tell = `require('http').request({ host: '127.0.0.1', port: ${port}, method: 'POST' }).end(process.argv[1])`
  writeFileSync(script, `#!/bin/sh\nexec '${process.execPath}' -e "${tell}" -- "$1"\n`)
  chmodSync(script, 0o755)

  return {
    env: { BROWSER: script },
    get count() {
      return count
    },
    forget() {
      opened.length = 0
    },
    next(timeout = 30_000) {
      const known = opened.shift()
      if (known) return Promise.resolve(known)
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.splice(waiting.indexOf(found), 1)
          reject(new Error(`no URL was opened within ${timeout} ms`))
        }, timeout)
        const found = (url: URL) => {
          clearTimeout(timer)
          resolve(url)
        }
        waiting.push(found)
      })
    },
    close() {
      rmSync(folder, { recursive: true, force: true })
      listener.closeAllConnections()
      return new Promise((resolve) => listener.close(() => resolve()))
    },
  }
}
