import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tally-'))
  write('good.test.ts', "it('one', () => {}); it('two', () => {}); it.skip('three', () => {}); it.todo('four')")
  write('bad.test.ts', "it('one', () => {}); it('two', () => { throw new Error('no') })")
  write('unreadable.test.ts', "import './nowhere.ts'\nit('one', () => {})")
  const twice = "let tries = 0; it('one', { retry: 1 }, () => { if (++tries < 2) throw new Error('once') })"
  for (const room of ['attacks', 'identity']) {
    mkdirSync(join(folder, 'tests', room), { recursive: true })
    write(`tests/${room}/unstable.test.ts`, twice)
  }
  write('hook.test.ts', "beforeAll(() => { throw new Error('no') }); it('one', () => {})")
  write(
    'stray.test.ts',
    "it('one', () => { setTimeout(() => { throw new Error('late') }, 0) })\nit('two', () => new Promise((done) => setTimeout(done, 100)))",
  )
})
afterAll(() => rmSync(folder, { recursive: true }))

function write(name: string, text: string): void {
  writeFileSync(
    join(folder, name),
    `import { beforeAll, it } from '${join(process.cwd(), 'node_modules/vitest/dist/index.js')}'\n${text}\n`,
  )
}

/** Runs one of the made-up files as `.ci/run` runs the suite; answers where its figures are. */
function run(name: string): string {
  const figures = join(folder, `${name.replaceAll('/', '-')}.json`)
  const vitest = join(process.cwd(), 'node_modules/vitest/vitest.mjs')
  const reporter = join(process.cwd(), 'scripts/tally-reporter.ts')
  const args = [vitest, 'run', '--root', folder, `--reporter=${reporter}`, `${name}.test.ts`]
  spawnSync(process.execPath, args, { env: { ...process.env, TALLY: figures } })
  return figures
}

function tally(...paths: readonly string[]): { line: string | undefined; status: number | null } {
  const { lines, status } = sum(...paths)
  return { line: lines.at(-1), status }
}

function sum(...paths: readonly string[]): { lines: string[]; status: number | null } {
  const { stdout, status } = spawnSync(process.execPath, ['scripts/tally.mjs', ...paths], { encoding: 'utf8' })
  return { lines: stdout.trimEnd().split('\n'), status }
}

it('sums the runs', () => {
  expect(tally(run('good'))).toEqual({ line: '2 passed, 0 failed, 2 skipped', status: 0 })
  expect(tally(run('good'), run('bad'))).toEqual({ line: '3 passed, 1 failed, 2 skipped', status: 1 })
})

it('counts a file that can not be loaded, an error outside of the tests, and a run that left no figures', () => {
  expect(tally(run('unreadable'))).toEqual({ line: '0 passed, 1 failed, 0 skipped', status: 1 })
  expect(tally(run('hook'))).toEqual({ line: '0 passed, 1 failed, 1 skipped', status: 1 })
  expect(tally(run('stray'))).toEqual({ line: '2 passed, 1 failed, 0 skipped', status: 1 })
  expect(tally(join(folder, 'nothing.json'))).toEqual({ line: '0 passed, 1 failed, 0 skipped', status: 1 })
})

it('names what failed, and why, before the sum', () => {
  expect(sum(run('good'), run('bad')).lines).toEqual(['FAILED bad.test.ts > two: no', '3 passed, 1 failed, 2 skipped'])
  expect(sum(run('hook')).lines[0]).toBe('FAILED hook.test.ts: no')
  expect(sum(run('stray')).lines[0]).toBe('FAILED outside of the tests: late')
})

it('names what passed only at its second try; an attack that succeeded once counts', () => {
  const named = 'UNSTABLE tests/identity/unstable.test.ts > one: once'
  expect(sum(run('tests/identity/unstable'))).toEqual({ lines: [named, '1 passed, 0 failed, 0 skipped'], status: 0 })
  const failed = 'FAILED tests/attacks/unstable.test.ts > one: once'
  expect(sum(run('tests/attacks/unstable'))).toEqual({ lines: [failed, '0 passed, 1 failed, 0 skipped'], status: 1 })
})
