import { execFileSync } from 'node:child_process'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { findChromium, launchBrowser } from './chromium.ts'
import { node24 } from './node24.ts'
import { type RunningProcess, startProcess } from './process.ts'
import { unavailable } from './unavailable.ts'

const started: RunningProcess[] = []
afterEach(async () => {
  await Promise.all(started.splice(0).map((each) => each.stop(0)))
})

function node(script: string, env: Record<string, string | undefined> = {}): RunningProcess {
  const child = startProcess(process.execPath, ['--input-type=module', '--eval', script], { env })
  started.push(child)
  return child
}

describe('a process', () => {
  it('waits for a line, before and after it was printed, and reads its groups', async () => {
    const child = node(
      "setTimeout(() => console.log('ready http://localhost:1234/mcp'), 50); setInterval(() => {}, 1000)",
    )
    expect((await child.line(/^ready (\S+)$/))[1]).toBe('http://localhost:1234/mcp')
    expect((await child.line(/localhost:(\d+)/g))[1]).toBe('1234')
  })

  it('takes only whole lines', async () => {
    const child = node(
      "process.stdout.write('rea'); setTimeout(() => process.stdout.write('dy 12'), 50); setTimeout(() => console.log('3'), 300)",
    )
    expect((await child.line(/^ready (\d+)/))[1]).toBe('123')
  })

  it('says what was printed when the line never comes', async () => {
    await expect(node("console.error('no such port')").line(/ready/)).rejects.toThrow('no such port')
    await expect(node('setInterval(() => {}, 1000)').line(/ready/, 200)).rejects.toThrow('within 200 ms')
  })

  it('says that a program is not there', async () => {
    await expect(startProcess('/nowhere/program').line(/ready/)).rejects.toThrow('ENOENT')
  })

  it('stops with SIGTERM, and with SIGKILL where that is ignored', async () => {
    const polite = node(
      "process.on('SIGTERM', () => { console.log('bye'); process.exit(3) }); console.log('ready'); setInterval(() => {}, 1000)",
    )
    await polite.line(/ready/)
    expect(await polite.stop()).toEqual({ code: 3, signal: null })
    expect(polite.stdout).toContain('bye')

    const deaf = node("process.on('SIGTERM', () => {}); console.log('ready'); setInterval(() => {}, 1000)")
    await deaf.line(/ready/)
    expect(await deaf.stop(100)).toEqual({ code: null, signal: 'SIGKILL' })
    expect(await deaf.stop()).toEqual({ code: null, signal: 'SIGKILL' })
  })

  it('ends where what it started holds its output open, and takes that along as a group', async () => {
    const inner = `require('node:http').createServer((_, answer) => answer.end(() => process.exit())).listen(0, '127.0.0.1', function () {
      console.log('listens on', this.address().port)
    })`
    const wrapper = `import { spawn } from 'node:child_process'
      spawn(process.execPath, ['--eval', process.env.INNER], { stdio: 'inherit' })
      setInterval(() => {}, 1000)`
    const start = async (group: boolean) => {
      const args = ['--input-type=module', '--eval', wrapper]
      const child = startProcess(process.execPath, args, { env: { INNER: inner }, group })
      const [, port] = await child.line(/^listens on (\d+)/)
      expect(await child.stop()).toEqual({ code: null, signal: 'SIGTERM' })
      return `http://127.0.0.1:${port}`
    }
    await fetch(await start(false)) // Still there, and ends with this request.
    await expect(fetch(await start(true))).rejects.toThrow()
  })

  it('sets and takes away variables', async () => {
    const child = node('console.log(process.env.COLOUR, process.env.HOME)', { COLOUR: 'blue', HOME: undefined })
    expect((await child.line(/blue (.*)/))[1]).toBe('undefined')
  })
})

describe('what is missing', () => {
  afterEach(() => vi.unstubAllEnvs())

  it('skips on a developer’s machine and fails in CI', () => {
    vi.stubEnv('CI', '')
    expect(unavailable('no lamp')).toEqual({ skip: 'no lamp' })
    vi.stubEnv('CI', 'true')
    expect(() => unavailable('no lamp')).toThrow('no lamp')
  })
})

const chromium = await findChromium()
describe.skipIf('skip' in chromium)('the browser', () => {
  it('opens a page', async () => {
    const browser = await launchBrowser()
    try {
      const page = await browser.newPage()
      await page.goto('data:text/html,<title>a page</title>')
      expect(await page.title()).toBe('a page')
    } finally {
      await browser.close()
    }
  })
})

describe('a newer Node', () => {
  it('is at least 24', async () => {
    const version = execFileSync(await node24(), ['--version'], { encoding: 'utf8' })
    expect(Number.parseInt(version.slice(1), 10)).toBeGreaterThanOrEqual(24)
  })
})
