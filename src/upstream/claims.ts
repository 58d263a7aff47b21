import type { Json, JsonObject } from '../identity/json.ts'
import type { Statement } from '../records/upstream-session.ts'
import { SignInRefused, type Voucher } from './provider.ts'

/** Who the statements are about, and what was said. */
export interface Said {
  readonly issuer: string
  readonly subject: string
  readonly said: readonly Statement[]
}

/** All that was said: a later statement overrides an earlier one, claim by claim. `iss` and `sub` are always those that were verified. */
export const mergedClaims = ({ issuer, subject, said }: Said): JsonObject => {
  const merged: { [name: string]: Json | undefined } = {}
  for (const { claims } of said) for (const name of Object.keys(claims)) setClaim(merged, name, claims[name])
  merged.iss = issuer
  merged.sub = subject
  return merged
}

/** A claim may have any name, `__proto__` too, which an assignment would not set. */
export const setClaim = (claims: { [name: string]: Json | undefined }, name: string, value: Json | undefined): void => {
  if (name !== '__proto__') claims[name] = value
  else Object.defineProperty(claims, name, { value, enumerable: true, configurable: true, writable: true })
}

/**
 * What was said anew takes the place of what the same source said before; other sources stay.
 * A provider that says less than at sign-in (no id_token on a refresh) takes nothing back.
 */
export const replaceStatements = (said: readonly Statement[], anew: readonly Statement[]): readonly Statement[] => [
  ...said.map((before) => anew.find(({ source }) => source === before.source) ?? before),
  ...anew.filter(({ source }) => said.every((before) => before.source !== source)),
]

/** Somebody as this server takes them. */
export interface Person {
  readonly claims: JsonObject
  /** The most that their clients may have, without what these imply. Absent: there is no such bound. */
  readonly scopes?: readonly string[]
}

type Rules = Pick<Voucher, 'claims' | 'derive' | 'admit'>

/** The claims of `checkedPerson`. */
export const checkedClaims = async (provider: Rules, said: Said): Promise<JsonObject> =>
  (await checkedPerson(provider, said)).claims

/**
 * The claims as a handler gets them: all that was said, over it the standard claims that the provider's preset makes of it, over these
 * what the provider's schema makes of them, and over all what the server's own rule adds.
 * @throws SignInRefused with reason `claims`, where `detail` names the claims that don't satisfy the schema, never their values; or
 * `not_admitted`, where it is the reason that the person reads
 */
export const checkedPerson = async (provider: Rules, said: Said): Promise<Person> => {
  const claims = await satisfyingClaims(provider, said)
  const admission = await provider.admit?.(structuredClone(claims))
  if (!admission) return { claims }
  const { claims: added = {}, roles, scopes, refuse } = admission
  if (refuse !== undefined) throw new SignInRefused('not_admitted', { detail: refuse })
  const more = Object.fromEntries(Object.entries(added).filter(([, value]) => value !== undefined))
  if (!isJsonObject(more)) throw new TypeError('what `admit` adds is no JSON object')
  return {
    claims: {
      ...claims,
      ...more,
      ...(roles === undefined ? {} : { roles: [...roles] }),
      iss: said.issuer,
      sub: said.subject,
    },
    ...(scopes === undefined ? {} : { scopes }),
  }
}

const satisfyingClaims = async (provider: Rules, said: Said): Promise<JsonObject> => {
  const merged = mergedClaims(said)
  const raw = provider.derive ? { ...merged, ...provider.derive(merged), iss: said.issuer, sub: said.subject } : merged
  if (!provider.claims) return raw
  // The schema gets a copy: what it does to its input must not change what was said.
  const result = await provider.claims['~standard'].validate(structuredClone(raw))
  if (result.issues) throw new SignInRefused('claims', { detail: describeIssues(result.issues) })
  if (!isJsonObject(result.value)) {
    throw new SignInRefused('claims', { detail: 'the schema makes something that is no JSON object of the claims' })
  }
  // A member that is there and undefined would take away what was said.
  const made = Object.fromEntries(Object.entries(result.value).filter(([, value]) => value !== undefined))
  return { ...raw, ...made, iss: said.issuer, sub: said.subject }
}

type Issues = readonly { readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined }[]

const mostNames = 10
const longestName = 100

const describeIssues = (issues: Issues): string => {
  const names = issues.map(({ path = [] }) =>
    path
      .map((part) => String(typeof part === 'object' ? part.key : part))
      .join('.')
      .replaceAll(/[^\x20-\x7e]/g, '?')
      .slice(0, longestName),
  )
  return [...new Set(names.map((name) => name || '(all)'))].slice(0, mostNames).join(', ')
}

const isJsonObject = (value: unknown): value is JsonObject => isPlainObject(value) && Object.values(value).every(isJson)

const isJson = (value: unknown): value is Json | undefined => {
  if (value === null || value === undefined || typeof value === 'string' || typeof value === 'boolean') return true
  if (typeof value === 'number') return Number.isFinite(value)
  return Array.isArray(value) ? value.every(isJson) : isPlainObject(value) && Object.values(value).every(isJson)
}

const isPlainObject = (value: unknown): value is Record<string, unknown> => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
