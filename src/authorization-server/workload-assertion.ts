import type { JsonObject } from '../identity/json.ts'
import type { Client } from '../records/client.ts'
import { type Assertion, refusedAssertion } from './assertion.ts'
import type { WorkloadIssuer, WorkloadRule } from './assertion-options.ts'
import type { ServerContext } from './context.ts'

/**
 * The client that a workload is.
 * @throws OAuthError `invalid_grant` where none of the issuer's rules fits
 */
export const workloadClient = (
  { configuredClients }: ServerContext,
  { issuer, subject, claims }: Assertion<WorkloadIssuer>,
): Client => {
  const id = clientOfWorkload(issuer, subject, claims)
  const client = id === undefined ? undefined : configuredClients.get(id)
  if (!client) throw refusedAssertion('no_rule_for_this_workload')
  return client
}

/** By the first rule that fits. */
export const clientOfWorkload = (
  { workloads }: WorkloadIssuer,
  subject: string,
  claims: JsonObject,
): string | undefined => workloads.find((rule) => fits(rule, subject, claims))?.client

const fits = (rule: WorkloadRule, subject: string, claims: JsonObject): boolean =>
  fitsSubject(rule.subject, subject) &&
  Object.entries(rule.claims ?? {}).every(([name, value]) => Object.hasOwn(claims, name) && claims[name] === value)

const fitsSubject = (expected: string, subject: string): boolean =>
  expected.endsWith('*')
    ? subject.length >= expected.length && subject.startsWith(expected.slice(0, -1))
    : subject === expected
