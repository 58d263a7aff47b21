import * as z from 'zod'
import { ConfigurationError } from '../oauth/configuration-error.ts'
import { isSecureUrl } from '../oauth/loopback.ts'
import type { Resource } from '../oauth/resource.ts'
import { resolveScopes } from './client-options.ts'

/** Somebody whose signed word is taken in place of a sign-in here. @see RFC 7523 §2.1 */
export type AssertionIssuerOptions = EnterpriseIssuerOptions | WorkloadIssuerOptions

interface TrustedIssuerOptions {
  /** Exactly the `iss` of its assertions. A URL, unless `jwks` or `jwksUri` say where its keys are. */
  readonly issuer: string
  /**
   * The name under which handlers see it, `upstream.provider`. Where it is the id of a provider in `upstream`, that one's schema for claims holds
   * for assertions too.
   */
  readonly provider: string
  /** Where its keys are; without it and `jwks`, its metadata say so. */
  readonly jwksUri?: string | undefined
  readonly jwks?: { readonly keys: readonly object[] } | undefined
}

/** The identity provider of an enterprise, which decides who of its people may use which client here (ID-JAG). */
export interface EnterpriseIssuerOptions extends TrustedIssuerOptions {
  readonly kind: 'enterprise'
  /** The claim that names the person. It must be the one by which the same people are named when they sign in here. Default `sub`. */
  readonly subjectClaim?: string | undefined
  /** Needed of an issuer that many tenants share: the one whose people are taken. */
  readonly tenant?: string | undefined
  /** The most that its assertions can give: resource (path or URL) to scopes. Default: every scope of every resource. */
  readonly scopes?: Readonly<Record<string, readonly string[]>> | undefined
  /**
   * Who comes by an assertion for the first time takes over the account that signed in at this provider with the same verified e-mail address,
   * in one of these domains. Without it people are told apart by issuer and subject alone.
   */
  readonly linkByEmail?: { readonly provider: string; readonly domains: readonly string[] } | undefined
}

/** A platform on which workloads run, each with a JWT that says what it is. @see SEP-1933 */
export interface WorkloadIssuerOptions extends TrustedIssuerOptions {
  readonly kind: 'workload'
  /** What its JWTs for this server have as `aud`. One that is for anybody else too is refused. */
  readonly audience: string | readonly string[]
  /** Which workload is which client: the first that fits. */
  readonly workloads: readonly WorkloadRule[]
}

export interface WorkloadRule {
  /** The id of a client of the configuration: what it may have for itself, the workload gets. */
  readonly client: string
  /** Exactly the `sub`; or its beginning up to a `/` or `:`, and `*`. */
  readonly subject: string
  /** Claims that must have exactly these values besides. */
  readonly claims?: Readonly<Record<string, string | number | boolean>> | undefined
}

const text = z.string().min(1)
const common = {
  issuer: text.max(2048),
  provider: z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'lower case, digits and hyphens'),
  jwksUri: z.string().refine(isSecureUrl, 'an https URL, or http on loopback').optional(),
  jwks: z.strictObject({ keys: z.array(z.looseObject({ kty: text })).min(1) }).optional(),
}
const domain = z.string().regex(/^[a-z0-9-]+(\.[a-z0-9-]+)+$/, 'domain names in lower case')

/** @internal */
export const assertionIssuersSchema = z.array(
  z.discriminatedUnion('kind', [
    z.strictObject({
      ...common,
      kind: z.literal('enterprise'),
      subjectClaim: text.optional(),
      tenant: text.optional(),
      scopes: z.record(z.string(), z.array(text)).optional(),
      linkByEmail: z.strictObject({ provider: text, domains: z.array(domain).min(1) }).optional(),
    }),
    z.strictObject({
      ...common,
      kind: z.literal('workload'),
      audience: z.union([text, z.array(text).min(1)]),
      workloads: z
        .array(
          z.strictObject({
            client: text,
            subject: z
              .string()
              .regex(/^[^*]+$|^[^*]*[^*/:][^*]*[/:]\*$/, 'a subject, or its beginning up to / or :, and *'),
            claims: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).optional(),
          }),
        )
        .min(1),
    }),
  ]),
)

export interface TrustedIssuers {
  /** By `iss`. */
  readonly issuers: ReadonlyMap<string, AssertionIssuer>
  /** The clients that workloads are. */
  readonly workloads: ReadonlySet<string>
  /** Whether any speaks for people. */
  readonly enterprise: boolean
}

export type AssertionIssuer = EnterpriseIssuer | WorkloadIssuer
export interface EnterpriseIssuer extends Omit<EnterpriseIssuerOptions, 'scopes'> {
  /** By resource identifier. */
  readonly scopes?: Readonly<Record<string, readonly string[]>>
}
export interface WorkloadIssuer extends Omit<WorkloadIssuerOptions, 'audience'> {
  readonly audience: readonly string[]
}

export interface AssertionSurroundings {
  readonly issuer: string
  readonly resources: readonly Resource[]
  readonly providerIds: readonly string[]
}

/** The trusted issuers. Undefined where there are none. @throws ConfigurationError */
export const resolveAssertionIssuers = (
  options: readonly AssertionIssuerOptions[],
  surroundings: AssertionSurroundings,
): TrustedIssuers | undefined => {
  if (options.length === 0) return undefined
  const issuers = new Map<string, AssertionIssuer>()
  const names = new Set<string>()
  for (const [index, given] of options.entries()) {
    const path = `assertions[${index}]`
    if (issuers.has(given.issuer)) throw new ConfigurationError(`${path}.issuer`, 'each issuer once')
    if (names.has(given.provider)) throw new ConfigurationError(`${path}.provider`, 'a name of its own')
    if (given.jwks && given.jwksUri) throw new ConfigurationError(path, 'one of jwks and jwksUri')
    if (!given.jwks && !given.jwksUri && !isSecureUrl(given.issuer)) {
      throw new ConfigurationError(`${path}.issuer`, 'an https URL, or jwks or jwksUri beside it')
    }
    if (given.issuer === surroundings.issuer) throw new ConfigurationError(`${path}.issuer`, 'another than this server')
    names.add(given.provider)
    issuers.set(
      given.issuer,
      given.kind === 'enterprise' ? enterprise(given, surroundings, path) : workload(given, surroundings, path),
    )
  }
  return {
    issuers,
    enterprise: options.some(({ kind }) => kind === 'enterprise'),
    workloads: new Set(
      options.flatMap((each) => (each.kind === 'workload' ? each.workloads.map(({ client }) => client) : [])),
    ),
  }
}

/** @throws ConfigurationError for a rule that names a client which the configuration has not */
export const checkWorkloadClients = (
  options: readonly AssertionIssuerOptions[],
  configured: ReadonlySet<string>,
): void => {
  for (const [index, each] of options.entries()) {
    for (const [rule, { client }] of (each.kind === 'workload' ? each.workloads : []).entries()) {
      if (configured.has(client)) continue
      throw new ConfigurationError(`assertions[${index}].workloads[${rule}].client`, 'the id of a client in `clients`')
    }
  }
}

const enterprise = (
  { scopes, ...given }: EnterpriseIssuerOptions,
  surroundings: AssertionSurroundings,
  path: string,
): EnterpriseIssuer => {
  if (given.linkByEmail && !surroundings.providerIds.includes(given.linkByEmail.provider)) {
    throw new ConfigurationError(`${path}.linkByEmail.provider`, 'the id of a provider in `upstream`')
  }
  return { ...given, ...(scopes ? { scopes: resolveScopes(scopes, surroundings, `${path}.scopes`) } : {}) }
}

const workload = (
  given: WorkloadIssuerOptions,
  { providerIds }: AssertionSurroundings,
  path: string,
): WorkloadIssuer => {
  // What a handler reads as "signed in at" must be told from "vouched for by".
  if (providerIds.includes(given.provider)) {
    throw new ConfigurationError(
      `${path}.provider`,
      'a name that no provider in `upstream` has: no person is behind a workload',
    )
  }
  return { ...given, audience: [given.audience].flat() }
}
