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
