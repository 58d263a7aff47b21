/** What a scope allows besides itself: `{ 'notes:write': ['notes:read'] }`. In any number of steps, and round in circles if need be. */
export type ScopeHierarchy = Readonly<Record<string, readonly string[]>>

/** The scopes with all that they imply, each once; those that were given come first. */
export const withImplied = (scopes: readonly string[], implies: ScopeHierarchy | undefined): readonly string[] => {
  if (!implies) return scopes
  const all = new Set(scopes)
  // A set yields what is added to it on the way.
  for (const scope of all)
    for (const implied of Object.hasOwn(implies, scope) ? (implies[scope] ?? []) : []) all.add(implied)
  return [...all]
}
