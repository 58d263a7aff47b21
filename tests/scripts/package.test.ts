import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { countersign } from 'countersign'
import { expect, test } from 'vitest'
import { moduleImports } from '../../scripts/module-imports.ts'

const { name, dependencies, peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  name: string
  dependencies: Record<string, string>
  peerDependencies: Record<string, string>
}
const known = new Set([name, 'node', ...Object.keys({ ...dependencies, ...peerDependencies })])

const packageOf = (specifier: string): string => {
  const parts = specifier.split('/')
  return parts.slice(0, specifier.startsWith('@') ? 2 : 1).join('/')
}

const files = (ending: string): string[] =>
  readdirSync('dist', { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith(ending))

const textOf = (file: string): string => readFileSync(join('dist', file), 'utf8')

/** Everything that a published file names of other packages, as "file: package". */
const named = (ending: string): string[] =>
  files(ending).flatMap((file) =>
    moduleImports(file, textOf(file))
      .filter(({ specifier }) => !/^(\.|node:)/.test(specifier))
      .map(({ specifier }) => `${file}: ${packageOf(specifier)}`),
  )

/** What the types of Node call these is the same in each of its versions; others have come and gone. */
const lasting = ['IncomingMessage', 'KeyObject', 'Readable', 'ServerResponse']

test('declarations name of Node only what the types of each version have', () => {
  const names = files('.d.ts').flatMap((file) =>
    [...textOf(file).matchAll(/import (?:type )?\{([^}]*)\} from ["']node:/g)].flatMap(([, list = '']) =>
      list.split(',').map((each) => each.trim().replace(/^type /, '')),
    ),
  )
  expect(names).toContain('ServerResponse')
  expect(names.filter((each) => !lasting.includes(each))).toEqual([])
})

const unknown = (names: readonly string[]) => names.filter((each) => !known.has(each.slice(each.indexOf(': ') + 2)))

test.each(['.js', '.d.ts'])('the built package names in its %s files only what an installation has', (ending) => {
  const names = named(ending)
  expect(names).toContainEqual(expect.stringContaining(': hono'))
  expect(unknown(names)).toEqual([])
})

test('the schemas inside the built package still say what was expected, and where', () => {
  expect(() => countersign({ url: 'http://localhost:8787', resources: 1 as never })).toThrow(
    'resources: expected record, received number',
  )
})

test('of the package that comes along only what is used does, and its licence', () => {
  expect(readFileSync('dist/LICENSE-zod', 'utf8')).toContain('Permission is hereby granted')
  // Its words in other languages, say: they come when a module writes `import { z }`.
  expect(files('.js').filter((file) => textOf(file).includes('se esperaba'))).toEqual([])
})
