/** A wrong value in the configuration: says where it is and what was expected there. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError'
  /** As it would be written in code: `resources["/mcp"].defaultScopes[0]`. */
  readonly path: string
  readonly expected: string

  constructor(path: string, expected: string) {
    super(`${path}: expected ${expected}`)
    this.path = path
    this.expected = expected
  }
}

/** What a schema found first. */
interface SchemaIssue {
  readonly code?: string | undefined
  readonly path: readonly PropertyKey[]
  readonly message: string
  readonly keys?: readonly string[]
}

/** @param root where the data is, in code */
export const refusedBySchema = (issue: SchemaIssue, root = ''): ConfigurationError =>
  new ConfigurationError(pathOf(issue.path, root), expectedBy(issue))

const pathOf = (path: readonly PropertyKey[], root: string): string =>
  path.reduce<string>(
    (whole, part) => (isName(part) ? `${whole}${whole && '.'}${part}` : `${whole}[${quoted(part)}]`),
    root,
  ) || 'options'

const isName = (part: PropertyKey): part is string => typeof part === 'string' && /^[A-Za-z_]\w*$/.test(part)

const quoted = (part: PropertyKey): string => (typeof part === 'string' ? JSON.stringify(part) : String(part))

const expectedBy = ({ code, message, keys }: SchemaIssue): string =>
  code === 'unrecognized_keys'
    ? `no member ${keys?.map((key) => `"${key}"`).join(', ')}`
    : message.replace(/.*?\bexpected /, '')
