import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { checkDeclarations, checkSource } from '../../scripts/check-floors.ts'
import { FLOORS } from '../../scripts/floors.ts'
import { moduleImports } from '../../scripts/module-imports.ts'

const trees: string[] = []
afterEach(() => {
  for (const tree of trees.splice(0)) rmSync(tree, { recursive: true })
})

/** A made-up repository: paths and texts. Files that are only imported need a text, too. */
function tree(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'floors-'))
  trees.push(root)
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return root
}

const lines = (violations: readonly { file: string; line: number; rule: string }[]) =>
  violations.map(({ file, line, rule }) => `${file}:${line}: ${rule}`)

describe('imports of a module', () => {
  it('finds every form, types included, with its line', () => {
    const text = `import a from 'one'
import type { B } from "two"
import {
  c,
} from 'three'
import 'four'
export * from 'five'
export type { D } from 'six'
export { e } from 'seven'
const f = await import('eight')
type G = import('nine').G
const computed = await import(f)
// import 'a comment'
const text = "import 'a string'"
const template = \`\${await import('ten')} import 'text'\`
export const h: typeof import('eleven') = a
`
    expect(moduleImports('x.ts', text).map(({ specifier, line }) => `${line} ${specifier}`)).toEqual([
      '1 one',
      '2 two',
      '5 three',
      '6 four',
      '7 five',
      '8 six',
      '9 seven',
      '10 eight',
      '11 nine',
      '15 ten',
      '16 eleven',
    ])
  })

  it('finds a reference directive in a declaration file', () => {
    expect(moduleImports('x.d.ts', '/// <reference types="node" />\nexport {}\n')).toEqual([
      { specifier: 'node', line: 1 },
    ])
  })

  it('refuses what it can not read', () => {
    expect(() => moduleImports('x.ts', 'import {')).toThrow('x.ts')
  })
})

describe('the floors', () => {
  it('lets a house pass that keeps to them', () => {
    const root = tree({
      'src/identity/token.ts': "import type { A } from './actor.ts'",
      'src/identity/actor.ts': 'export type A = string',
      'src/identity/context.ts': "import { AsyncLocalStorage } from 'node:async_hooks'",
      'src/store/store.ts': "import { randomBytes } from 'node:crypto'\nimport '../identity/token.ts'",
      'src/net/fetch.ts': '',
      'src/records/grant.ts': "import '../store/store.ts'",
      'src/keys/ring.ts': "import '../records/grant.ts'",
      'src/resource-server/gate.ts': "import '../net/fetch.ts'\nimport '../identity/token.ts'\nimport 'jose'",
      'src/http/hono.ts': "import { Hono } from 'hono'\nimport '../resource-server/gate.ts'",
      'src/countersign.ts': "import './http/hono.ts'",
      'src/cli/main.ts': "import '../countersign.ts'",
      'src/testing.ts': "import './countersign.ts'",
      'src/index.ts': "export * from './countersign.ts'",
    })
    expect(lines(checkSource(root))).toEqual([])
  })

  it.each<[name: string, files: Record<string, string>, violation: string | RegExp]>([
    [
      'a lower floor that imports a higher one',
      { 'src/oauth/scope.ts': "\nimport type { S } from '../store/store.ts'", 'src/store/store.ts': '' },
      'src/oauth/scope.ts:2: "oauth" (floor 1) imports "store" (floor 2): a lower floor never imports a higher one',
    ],
    [
      'a re-export that runs up the floors',
      { 'src/keys/a.ts': "export { x } from '../upstream/b.ts'", 'src/upstream/b.ts': '' },
      'src/keys/a.ts:1: "keys" (floor 3) imports "upstream" (floor 4): a lower floor never imports a higher one',
    ],
    [
      'rooms of one floor that import each other',
      { 'src/oauth/a.ts': "import '../crypto/b.ts'", 'src/crypto/b.ts': '' },
      'src/oauth/a.ts:1: "oauth" (floor 1) imports "crypto" (floor 1): rooms of one floor don\'t import each other',
    ],
    [
      'the permitted neighbour, the other way round',
      { 'src/records/a.ts': "import '../keys/b.ts'", 'src/keys/b.ts': '' },
      /^src\/records\/a.ts:1: "records" \(floor 3\) imports "keys" \(floor 3\): rooms of one floor/,
    ],
    [
      'a composition that imports the gateway',
      { 'src/countersign.ts': "import './gateway/a.ts'", 'src/gateway/a.ts': '' },
      /^src\/countersign.ts:1: "countersign" \(floor 7\) imports "gateway" .* a lower floor/,
    ],
    [
      'a room that imports the main entry',
      { 'src/http/a.ts': "import '../index.ts'", 'src/index.ts': '' },
      /^src\/http\/a.ts:1: "http" \(floor 6\) imports "index" .* a lower floor/,
    ],
    [
      'a resource server that needs the rest',
      { 'src/resource-server/a.ts': "import '../records/b.ts'", 'src/records/b.ts': '' },
      'src/resource-server/a.ts:1: "resource-server" imports "records", but may import identity, oauth, crypto, events, policy, net only',
    ],
    ['a room that has no floor', { 'src/attic/a.ts': '' }, /^src\/attic\/a.ts:1: the room "attic" has no floor/],
    [
      'Node in a room without it',
      { 'src/oauth/pkce.ts': "import { createHash } from 'node:crypto'" },
      'src/oauth/pkce.ts:1: "oauth" imports nothing of Node, but this imports "node:crypto"',
    ],
    [
      'Node without its prefix',
      { 'src/policy/a.ts': "import { readFile } from 'fs/promises'" },
      /^src\/policy\/a.ts:1: "policy" imports nothing of Node/,
    ],
    [
      'more of Node than the exception allows',
      { 'src/identity/context.ts': "import 'node:async_hooks'\nimport 'node:fs'" },
      'src/identity/context.ts:2: "identity" imports nothing of Node, but this imports "node:fs"',
    ],
    [
      'the exception in another file',
      { 'src/identity/actor.ts': "import 'node:async_hooks'" },
      /^src\/identity\/actor.ts:1: "identity" imports nothing of Node/,
    ],
    [
      'a framework in the core',
      { 'src/upstream/a.ts': "import type { Context } from 'hono'" },
      'src/upstream/a.ts:1: "upstream" belongs to the core, which imports no framework, but this imports "hono"',
    ],
    [
      'an SDK in the core',
      { 'src/resource-server/a.ts': "import type { AuthInfo } from '@modelcontextprotocol/sdk/server/auth/types.js'" },
      /^src\/resource-server\/a.ts:1: "resource-server" belongs to the core/,
    ],
    [
      'an import of the package itself',
      { 'src/http/a.ts': "import 'countersign/store/memory'" },
      /^src\/http\/a.ts:1: imports "countersign\/store\/memory", the package itself/,
    ],
    [
      'an import from outside the house',
      { 'src/http/a.ts': "import '../../tests/b.ts'", 'tests/b.ts': '' },
      'src/http/a.ts:1: imports "../../tests/b.ts", which lies outside src/',
    ],
    [
      'an import of a file that is not there',
      { 'src/http/a.ts': "import './b.js'" },
      'src/http/a.ts:1: imports "./b.js", which is no TypeScript file',
    ],
    [
      'a cycle between files',
      {
        'src/http/a.ts': "import './b.ts'",
        'src/http/b.ts': "\nimport './c.ts'",
        'src/http/c.ts': "import type { A } from './a.ts'",
      },
      'src/http/a.ts:1: an import cycle: http/a.ts → http/b.ts → http/c.ts → http/a.ts',
    ],
    [
      'a file that imports itself',
      { 'src/http/a.ts': "import './a.ts'" },
      /^src\/http\/a.ts:1: an import cycle: http\/a.ts → http\/a.ts/,
    ],
  ])('refuses %s', (_name, files, violation) => {
    const found = lines(checkSource(tree(files)))
    expect(found).toHaveLength(1)
    expect(found[0]).toEqual(typeof violation === 'string' ? violation : expect.stringMatching(violation))
  })

  it('names every room once', () => {
    const rooms = FLOORS.flatMap((floor) => floor.rooms)
    expect(new Set(rooms).size).toBe(rooms.length)
  })
})

describe('the declarations', () => {
  it('lets frameworks stay in the adapters that nothing of the main entry reaches', () => {
    const root = tree({
      'dist/index.d.ts': "export * from './countersign.js'",
      'dist/countersign.d.ts': "export type { A } from './identity/a.ts'",
      'dist/identity/a.d.ts': 'export type A = Request',
      'dist/store/postgres.d.ts': "import type { PoolConfig } from 'pg'",
      'dist/http/hono.d.ts': "import type { Hono } from 'hono'",
    })
    expect(lines(checkDeclarations(root))).toEqual([])
  })

  it('refuses a framework in a declaration of the core', () => {
    const root = tree({ 'dist/upstream/a.d.ts': "export declare const a: import('express').Request" })
    expect(lines(checkDeclarations(root))).toEqual([
      'dist/upstream/a.d.ts:1: a declaration of the core imports "express", a framework',
    ])
  })

  it.each([
    ['a framework', "import type { Hono } from 'hono'", 'hono'],
    ['Node', "import type { Server } from 'node:http'", 'node:http'],
    ['Node, by a directive', '/// <reference types="node" />', 'node'],
  ])('refuses %s below the main entry', (_name, text, specifier) => {
    const root = tree({ 'dist/index.d.ts': "export { x } from './http/a.ts'", 'dist/http/a.d.ts': text })
    expect(lines(checkDeclarations(root))).toEqual([
      `dist/http/a.d.ts:1: the main entry's declarations reach "${specifier}"`,
    ])
  })
})

describe('the command', () => {
  const command = ['--import', 'tsx', 'scripts/check-floors.ts']

  it('prints each violation and ends with 1', () => {
    const root = tree({ 'src/oauth/a.ts': "import 'node:fs'" })
    const { status, stderr } = spawnSync(process.execPath, [...command, root], { encoding: 'utf8' })
    expect(stderr).toContain('src/oauth/a.ts:1: "oauth" imports nothing of Node')
    expect(status).toBe(1)
  })

  it('ends with 0 where all is well', () => {
    const root = tree({ 'src/oauth/a.ts': '' })
    expect(execFileSync(process.execPath, [...command, root], { encoding: 'utf8' })).toBe(
      'floors: 1 files, 0 violations\n',
    )
  })
})
