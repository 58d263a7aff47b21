import { parseSync } from 'oxc-parser'

/** One place where a module names another: an import, a re-export, `import()` of a literal, or a type's `import('…')`. */
export interface ModuleImport {
  readonly specifier: string
  /** 1 for the first line. */
  readonly line: number
}

/**
 * All that a TypeScript module (or declaration file) imports, types included, in the order of the text. An `import()` of a computed
 * name has no specifier and is left out.
 *
 * @throws {Error} if the text isn't TypeScript.
 */
export function moduleImports(fileName: string, text: string): ModuleImport[] {
  const { program, module, comments, errors } = parseSync(fileName, text)
  const [error] = errors.filter((each) => each.severity === 'Error')
  if (error !== undefined) throw new Error(`${fileName}: ${error.message}`)

  const found: { specifier: string; start: number }[] = []
  for (const { moduleRequest } of module.staticImports) {
    found.push({ specifier: moduleRequest.value, start: moduleRequest.start })
  }
  for (const { entries } of module.staticExports) {
    for (const { moduleRequest } of entries) {
      if (moduleRequest !== null) found.push({ specifier: moduleRequest.value, start: moduleRequest.start })
    }
  }
  walk(program, (node) => {
    if ((node.type !== 'TSImportType' && node.type !== 'ImportExpression') || !isNode(node.source)) return
    const { value, start } = node.source
    if (typeof value === 'string' && typeof start === 'number') found.push({ specifier: value, start })
  })
  for (const { value, start } of comments) {
    const reference = /^\/\s*<reference\s+types="([^"]+)"/.exec(value)
    if (reference?.[1] !== undefined) found.push({ specifier: reference[1], start })
  }

  const once = new Map(found.map((each) => [`${each.start} ${each.specifier}`, each]))
  return [...once.values()]
    .sort((a, b) => a.start - b.start)
    .map(({ specifier, start }) => ({ specifier, line: text.slice(0, start).split('\n').length }))
}

type Node = Record<string, unknown> & { type: string }

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string'
}

function walk(node: unknown, visit: (node: Node) => void): void {
  if (Array.isArray(node)) {
    for (const each of node) walk(each, visit)
  } else if (isNode(node)) {
    visit(node)
    for (const each of Object.values(node)) {
      if (typeof each === 'object' && each !== null) walk(each, visit)
    }
  }
}
