/** Why a part of the suite can't run on this machine. The tests that need it are skipped with this line. */
export interface Unavailable {
  readonly skip: string
}

/** On a developer's machine a missing tool skips the tests that need it; in CI (`CI=true`) it fails them. */
export function unavailable(reason: string): Unavailable {
  if (process.env.CI === 'true') throw new Error(`missing in CI: ${reason}`)
  return { skip: reason }
}
