export type Json = string | number | boolean | null | readonly Json[] | JsonObject

/** A JSON object. Values may be undefined in types because optional members are; undefined is never serialised. */
export type JsonObject = { readonly [name: string]: Json | undefined }

/** Freezes a JSON value and all that it holds, and answers it. */
export const deepFreeze = <T>(value: T): T => {
  // What is frozen already may hold what is not.
  if (typeof value !== 'object' || value === null) return value
  Object.freeze(value)
  for (const member of Object.values(value)) deepFreeze(member)
  return value
}
