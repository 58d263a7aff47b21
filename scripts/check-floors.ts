/**
 * Checks that the code keeps to `floors.ts`: `node --import tsx scripts/check-floors.ts [root]`. Prints each violation on a line, and
 * ends with 1 if there is one. Reads `src/`, and `dist/` for what the declarations import: build first.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CORE, FLOORS, FRAMEWORKS, NEIGHBOURS, NODE_EXCEPTIONS, ONLY, WITHOUT_NODE } from './floors.ts'
import { moduleImports } from './module-imports.ts'

export interface Violation {
  /** Relative to the root, with `/`. */
  readonly file: string
  readonly line: number
  readonly rule: string
}

/** The rules about imports in `src/`, the files' cycles among them. */
export function checkSource(root: string): Violation[] {
  const src = join(root, 'src')
  const violations: Violation[] = []
  const graph = new Map<string, { to: string; line: number }[]>()

  for (const file of filesBelow(src, '.ts')) {
    const edges: { to: string; line: number }[] = []
    graph.set(file, edges)
    const report = (line: number, rule: string) => violations.push({ file: `src/${file}`, line, rule })
    if (floorOf(roomOf(file)) === undefined)
      report(1, `the room "${roomOf(file)}" has no floor: name it in scripts/floors.ts`)

    for (const { specifier, line } of moduleImports(file, readFileSync(join(src, file), 'utf8'))) {
      if (!specifier.startsWith('.')) {
        for (const rule of externalRules(file, specifier)) report(line, rule)
        continue
      }
      const to = slashes(relative(src, resolve(dirname(join(src, file)), specifier)))
      if (to.startsWith('../')) {
        report(line, `imports "${specifier}", which lies outside src/`)
        continue
      }
      if (!existsSync(join(src, to)) || !to.endsWith('.ts'))
        report(line, `imports "${specifier}", which is no TypeScript file`)
      else edges.push({ to, line })
      const rule = roomRule(roomOf(file), roomOf(to))
      if (rule !== undefined) report(line, rule)
    }
  }
  return [...violations, ...cycles(graph)]
}

/**
 * The rules about declarations: those of the core's rooms know no framework, and what the main entry's declarations reach knows neither
 * a framework nor Node.
 */
export function checkDeclarations(root: string): Violation[] {
  const dist = join(root, 'dist')
  const importsOf = (file: string) => moduleImports(file, readFileSync(join(dist, file), 'utf8'))
  const violations: Violation[] = []
  for (const file of filesBelow(dist, '.d.ts').filter((each) => CORE.includes(roomOf(each)))) {
    for (const { specifier, line } of importsOf(file)) {
      if (!isFramework(specifier)) continue
      violations.push({
        file: `dist/${file}`,
        line,
        rule: `a declaration of the core imports "${specifier}", a framework`,
      })
    }
  }

  const seen = new Set<string>()
  const waiting = ['index.d.ts'].filter((file) => existsSync(join(dist, file)))
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (seen.has(file)) continue
    seen.add(file)
    for (const { specifier, line } of importsOf(file)) {
      if (specifier.startsWith('.')) {
        const to = slashes(relative(dist, resolve(dirname(join(dist, file)), specifier.replace(/\.[jt]s$/, '.d.ts'))))
        if (existsSync(join(dist, to))) waiting.push(to)
      } else if (isNode(specifier) || (isFramework(specifier) && !CORE.includes(roomOf(file)))) {
        violations.push({ file: `dist/${file}`, line, rule: `the main entry's declarations reach "${specifier}"` })
      }
    }
  }
  return violations
}

function externalRules(file: string, specifier: string): string[] {
  const room = roomOf(file)
  const rules: string[] = []
  if (isNode(specifier) && WITHOUT_NODE.includes(room) && NODE_EXCEPTIONS[file]?.includes(specifier) !== true) {
    rules.push(`"${room}" imports nothing of Node, but this imports "${specifier}"`)
  }
  if (isFramework(specifier) && CORE.includes(room)) {
    rules.push(`"${room}" belongs to the core, which imports no framework, but this imports "${specifier}"`)
  }
  if (specifier === 'countersign' || specifier.startsWith('countersign/')) {
    rules.push(`imports "${specifier}", the package itself: import the file`)
  }
  return rules
}

function roomRule(from: string, to: string): string | undefined {
  if (from === to) return undefined
  const [own, other] = [floorOf(from), floorOf(to)]
  if (own === undefined || other === undefined) return undefined // Said once, by the file that has no floor.
  const label = (room: string, floor: number) => `"${room}" (floor ${FLOORS[floor]?.floor})`
  if (other > own) return `${label(from, own)} imports ${label(to, other)}: a lower floor never imports a higher one`
  if (other === own && NEIGHBOURS[from]?.includes(to) !== true) {
    return `${label(from, own)} imports ${label(to, other)}: rooms of one floor don't import each other`
  }
  const only = ONLY[from]
  if (only !== undefined && !only.includes(to))
    return `"${from}" imports "${to}", but may import ${only.join(', ')} only`
  return undefined
}

/** One violation for each group of files that import each other in a circle, with the shortest circle through its first file. */
function cycles(graph: ReadonlyMap<string, readonly { to: string; line: number }[]>): Violation[] {
  const violations: Violation[] = []
  const told = new Set<string>()
  for (const start of [...graph.keys()].sort()) {
    if (told.has(start)) continue
    const path = shortestCircle(graph, start)
    const line = graph.get(start)?.find(({ to }) => to === (path?.[1] ?? start))?.line
    if (path === undefined || line === undefined) continue
    for (const file of path) told.add(file)
    violations.push({ file: `src/${start}`, line, rule: `an import cycle: ${[...path, start].join(' → ')}` })
  }
  return violations
}

function shortestCircle(graph: ReadonlyMap<string, readonly { to: string }[]>, start: string): string[] | undefined {
  const paths = new Map<string, string[]>([[start, [start]]])
  const waiting = [start]
  for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
    const path = paths.get(file) ?? []
    for (const { to } of graph.get(file) ?? []) {
      if (to === start) return path
      if (paths.has(to)) continue
      paths.set(to, [...path, to])
      waiting.push(to)
    }
  }
  return undefined
}

function roomOf(file: string): string {
  return (file.split('/')[0] ?? file).replace(/(\.d)?\.ts$/, '')
}

function floorOf(room: string): number | undefined {
  const index = FLOORS.findIndex(({ rooms }) => rooms.includes(room))
  return index === -1 ? undefined : index
}

function isNode(specifier: string): boolean {
  const [first = ''] = specifier.split('/')
  return specifier.startsWith('node:') || specifier === 'node' || builtinModules.includes(first)
}

function isFramework(specifier: string): boolean {
  return FRAMEWORKS.some((name) =>
    name.endsWith('/') ? specifier.startsWith(name) : specifier === name || specifier.startsWith(`${name}/`),
  )
}

function filesBelow(folder: string, ending: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map(slashes)
    .filter((file) => file.endsWith(ending))
    .sort()
}

function slashes(path: string): string {
  return path.replaceAll('\\', '/')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = resolve(process.argv[2] ?? '.')
  const violations = [...checkSource(root), ...checkDeclarations(root)]
  for (const { file, line, rule } of violations) console.error(`${file}:${line}: ${rule}`)
  const files = filesBelow(join(root, 'src'), '.ts').length
  console.log(`floors: ${files} files, ${violations.length} violations`)
  if (violations.length > 0) process.exitCode = 1
}
