export type {
  AccountAdministration,
  Administration,
  ClientAdministration,
  GrantAdministration,
  KeyAdministration,
} from './administration.ts'
export type { AccountInformation, AccountPage, DeletedAccount } from './authorization-server/account-administration.ts'
export type {
  AssertionIssuerOptions,
  EnterpriseIssuerOptions,
  WorkloadIssuerOptions,
  WorkloadRule,
} from './authorization-server/assertion-options.ts'
export type { ClientOptions, ClientSettings } from './authorization-server/client-options.ts'
export type {
  ChangedClient,
  ClientInformation,
  ClientPage,
  CreatedClient,
  NewClient,
} from './authorization-server/clients.ts'
export { type Countersign, countersign } from './countersign.ts'
export type { AuditEvent, AuditSink } from './events/audit.ts'
export type { AuditLog, AuditPage, AuditQuery } from './events/audit-log.ts'
export type { Clock } from './events/clock.ts'
export type { Logger } from './events/logger.ts'
export type { Random } from './events/random.ts'
export type { Telemetry } from './events/telemetry.ts'
export type { Admission, Auth } from './http/auth.ts'
export {
  type AccessToken,
  type ClientToken,
  type TokenFacts,
  type UpstreamAccessToken,
  type UpstreamClaims,
  type UpstreamIdentity,
  UpstreamTokenUnavailable,
  type UserToken,
} from './identity/access-token.ts'
export type { Actor } from './identity/actor.ts'
export {
  getAccessToken,
  NoAccessToken,
  requireAccessToken,
  requireUser,
  type TokenSource,
  withAccessToken,
} from './identity/context.ts'
export type { Json, JsonObject } from './identity/json.ts'
export { type Principal, principal } from './identity/principal.ts'
export type { UpstreamTarget } from './identity/upstream-target.ts'
export { TokenInvalid, type TokenVerifier, VerifierUnavailable } from './identity/verifier.ts'
export type { KeyInformation, RotateOptions } from './keys/key-information.ts'
export type { AccessPolicy, PolicyCall, PolicyFunction, PolicyRule, Requirement } from './mcp/policy/rule.ts'
export { accessTokenOf } from './mcp/token-of.ts'
export { ConfigurationError } from './oauth/configuration-error.ts'
export type { Config, Options, ProtectedResourceOptions } from './options.ts'
export { type ApiKeysOptions, apiKeys, createApiKey, type StoredApiKey } from './resource-server/api-keys.ts'
export type { HandIssued } from './resource-server/hand-issued.ts'
export { type IntrospectionOptions, introspection } from './resource-server/introspection-verifier.ts'
export { jwks } from './resource-server/jwks-verifier.ts'
export {
  type DevelopmentTokensOptions,
  developmentTokens,
  type StaticTokensOptions,
  staticTokens,
} from './resource-server/static-tokens.ts'
export type { Store } from './store/store.ts'
export { StoreUnavailable } from './store/store.ts'
export {
  type Admit,
  type AdmitDecision,
  allowEmailDomains,
  allowGroups,
  allowTenants,
} from './upstream/admission.ts'
export type { Provider } from './upstream/provider.ts'
export { resourceServer } from './verify-only.ts'
