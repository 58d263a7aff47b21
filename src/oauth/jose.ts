type Jose = typeof import('jose')

let loading: Promise<Jose> | undefined

/** The library that verifies JWTs. Loaded with the first of them: a server starts sooner without it. */
export const jose = (): Promise<Jose> => {
  loading ??= import('jose')
  return loading
}
