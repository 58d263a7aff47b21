/** A mutant that no test can or should kill, named by what stands in the code: it may move. */
export interface Harmless {
  readonly file: string
  readonly original: string
  /** Without it: whatever stands there instead. */
  readonly replacement?: string
}

const filled = '["Stryker was here"]'
const text = '"Stryker was here!"'
const fieldOfEvent = '/^([^:]*)(?::[ ]?(.*))?$/s'

/** By the reason why nobody could tell, or why it does not matter. */
const reasons: Readonly<Record<string, readonly Harmless[]>> = {
  'What is asked for first is refused, or answered in the same way, by what follows': [
    { file: 'src/identity/actor.ts', original: 'before === undefined', replacement: 'false' },
    { file: 'src/resource-server/jwt-facts.ts', original: 'act === undefined', replacement: 'false' },
    { file: 'src/oauth/client-id-metadata.ts', original: "url.password !== ''", replacement: 'false' },
    { file: 'src/oauth/client-metadata.ts', original: '!keys && uri !== undefined', replacement: 'false' },
    { file: 'src/oauth/scope.ts', original: 'scope !== offlineAccess', replacement: 'true' },
    { file: 'src/resource-server/hosts.ts', original: "origin === 'null'", replacement: 'true' },
    {
      file: 'src/resource-server/introspection-verifier.ts',
      original: "typeof exp !== 'number'",
      replacement: 'false',
    },
    { file: 'src/resource-server/jwt-facts.ts', original: "typeof exp !== 'number'", replacement: 'false' },
    { file: 'src/resource-server/introspection-verifier.ts', original: 'rememberedFor > 0' },
    { file: 'src/resource-server/api-keys.ts', original: 'secret === undefined', replacement: 'false' },
    {
      file: 'src/resource-server/api-keys.ts',
      original: 'id === undefined || secret === undefined',
      replacement: 'id === undefined && secret === undefined',
    },
    {
      file: 'src/resource-server/key-set.ts',
      original: 'current && current.lookup !== first.lookup',
      replacement: 'true',
    },
    {
      file: 'src/resource-server/key-set.ts',
      original: 'current && current.lookup !== first.lookup',
      replacement: 'current || current.lookup !== first.lookup',
    },
    { file: 'src/resource-server/key-set.ts', original: 'current.lookup !== first.lookup', replacement: 'true' },
    { file: 'src/resource-server/key-set.ts', original: '!Array.isArray(keys)', replacement: 'false' },
    { file: 'src/resource-server/jwks-verifier.ts', original: "['exp', 'aud', 'sub']", replacement: '[]' },
    {
      file: 'src/resource-server/jwks-verifier.ts',
      original: '!(error instanceof errors.JWSSignatureVerificationFailed)',
      replacement: 'false',
    },
    { file: 'src/resource-server/api-keys.ts', original: 'id === undefined', replacement: 'false' },
    { file: 'src/resource-server/api-keys.ts', original: 'found.expiresAt !== undefined', replacement: 'true' },
    { file: 'src/resource-server/static-tokens.ts', original: 'found.expiresAt !== undefined', replacement: 'true' },
    {
      file: 'src/resource-server/event-rewriter.ts',
      original: fieldOfEvent,
      replacement: fieldOfEvent.replace('^', ''),
    },
    {
      file: 'src/resource-server/event-rewriter.ts',
      original: fieldOfEvent,
      replacement: fieldOfEvent.replace('$', ''),
    },
    { file: 'src/resource-server/gate.ts', original: 'origin !== null', replacement: 'true' },
    { file: 'src/resource-server/guarded-response.ts', original: '!filter && !stream', replacement: 'false' },
    { file: 'src/resource-server/guarded-response.ts', original: 'ended', replacement: 'false' },
    {
      file: 'src/resource-server/hosts.ts',
      original: '/^https?:\\/\\//',
      replacement: '/https?:\\/\\//',
    },
    {
      file: 'src/resource-server/introspection-verifier.ts',
      original: 'age !== undefined',
      replacement: 'true',
    },
    { file: 'src/resource-server/message-text.ts', original: "'message'", replacement: '""' },
    { file: 'src/resource-server/presented-token.ts', original: "','", replacement: '""' },
    { file: 'src/resource-server/signed-answer.ts', original: '!key', replacement: 'false' },
    { file: 'src/resource-server/presented-token.ts', original: "header === ''", replacement: 'false' },
    { file: 'src/oauth/redirect-uri.ts', original: "text === ''", replacement: 'false' },
    { file: 'src/identity/confirmation.ts', original: "typeof cnf === 'object'", replacement: 'true' },
    { file: 'src/authorization-server/target.ts', original: "typeof identified === 'string'", replacement: 'false' },
    { file: 'src/authorization-server/target.ts', original: "'string'", replacement: '""' },
    { file: 'src/authorization-server/dpop.ts', original: 'proof.nonce !== undefined', replacement: 'true' },
    { file: 'src/oauth/client-keys.ts', original: '/^https?:$/' },
    { file: 'src/oauth/dpop-proof.ts', original: '/^https?:$/' },
    { file: 'src/oauth/dpop-proof.ts', original: "kty === 'RSA'", replacement: 'true' },
    { file: 'src/oauth/media-type.ts', original: 'quality >= 0', replacement: 'true' },
  ],
  'Only the compiler needs it: there is always a value here, or never one': [
    { file: 'src/identity/token-memory.ts', original: 'together?.delete', replacement: 'together.delete' },
    { file: 'src/identity/token-memory.ts', original: 'together?.size', replacement: 'together.size' },
    { file: 'src/identity/token-memory.ts', original: 'remembered', replacement: 'true' },
    { file: 'src/oauth/dpop-proof.ts', original: 'algorithm === undefined', replacement: 'false' },
    { file: 'src/resource-server/client-proof.ts', original: 'algorithm === undefined', replacement: 'false' },
    { file: 'src/resource-server/client-proof.ts', original: "''", replacement: text },
    { file: 'src/oauth/client-metadata.ts', original: 'issue?.path', replacement: 'issue.path' },
    { file: 'src/oauth/client-metadata.ts', original: "''", replacement: text },
    { file: 'src/oauth/client-metadata.ts', original: 'false', replacement: 'true' },
    { file: 'src/oauth/client-id-metadata.ts', original: 'error instanceof OAuthError', replacement: 'true' },
    { file: 'src/policy/exchange.ts', original: 'policy?.actors', replacement: 'policy.actors' },
    { file: 'src/resource-server/dpop.ts', original: '!(error instanceof DpopProofInvalid)', replacement: 'false' },
    { file: 'src/resource-server/discovery.ts', original: 'reader?.cancel', replacement: 'reader.cancel' },
    { file: 'src/resource-server/discovery.ts', original: '{ done: true, value: undefined }', replacement: '{}' },
    { file: 'src/resource-server/discovery.ts', original: 'true', replacement: 'false' },
    { file: 'src/resource-server/discovery.ts', original: 'done || !value', replacement: 'done && !value' },
    { file: 'src/resource-server/event-rewriter.ts', original: '[]', replacement: filled },
    {
      file: 'src/resource-server/guarded-response.ts',
      original: 'response.body?.cancel',
      replacement: 'response.body.cancel',
    },
    { file: 'src/resource-server/key-set.ts', original: 'current?.found', replacement: 'current.found' },
    {
      file: 'src/resource-server/message-text.ts',
      original: "contentType?.split(';')[0]?.trim",
      replacement: "contentType?.split(';')[0].trim",
    },
    { file: 'src/resource-server/proof-memory.ts', original: '!largest', replacement: 'false' },
    { file: 'src/authorization-server/target.ts', original: '[]', replacement: filled },
    { file: 'src/authorization-server/presented-token.ts', original: '!isAuthorization(grant) || salt === undefined' },
    { file: 'src/authorization-server/presented-token.ts', original: 'salt === undefined', replacement: 'false' },
    { file: 'src/oauth/redirect-uri.ts', original: "''", replacement: text },
  ],
  'In place of an empty list or text there stands one that nothing is equal to, and that leads to the same refusal': [
    { file: 'src/identity/token-memory.ts', original: '[]', replacement: filled },
    { file: 'src/oauth/client-authentication.ts', original: '[]', replacement: filled },
    { file: 'src/oauth/client-authentication.ts', original: "''", replacement: text },
    { file: 'src/oauth/client-assertion.ts', original: "''", replacement: text },
    { file: 'src/oauth/client-id-metadata.ts', original: '[]', replacement: filled },
    { file: 'src/oauth/client-metadata.ts', original: '[]', replacement: filled },
    { file: 'src/oauth/media-type.ts', original: "''", replacement: text },
    { file: 'src/oauth/redirect-uri.ts', original: '[]', replacement: filled },
    { file: 'src/oauth/scope.ts', original: '[]', replacement: filled },
    { file: 'src/oauth/scope-hierarchy.ts', original: '[]', replacement: filled },
    { file: 'src/resource-server/api-keys.ts', original: '[]', replacement: filled },
    { file: 'src/resource-server/api-keys.ts', original: "''", replacement: text },
    { file: 'src/resource-server/dpop.ts', original: "''", replacement: text },
    { file: 'src/resource-server/gate.ts', original: '[]', replacement: filled },
    { file: 'src/resource-server/introspection-verifier.ts', original: '[]', replacement: filled },
    { file: 'src/resource-server/issuer.ts', original: "''", replacement: text },
    { file: 'src/resource-server/jwks-verifier.ts', original: '[]', replacement: filled },
    { file: 'src/resource-server/presented-token.ts', original: "''", replacement: text },
    { file: 'src/resource-server/cors.ts', original: "''", replacement: text },
    { file: 'src/resource-server/discovery.ts', original: "''", replacement: text },
    { file: 'src/resource-server/jwks-verifier.ts', original: "''", replacement: text },
    { file: 'src/resource-server/upstream-schema.ts', original: '[]', replacement: filled },
    { file: 'src/oauth/parameters.ts', original: "''", replacement: text },
  ],
  'One step more in what compares or counts finds nothing more': [
    { file: 'src/oauth/pkce.ts', original: 'index < b.length', replacement: 'index <= b.length' },
    { file: 'src/resource-server/hand-issued.ts', original: 'at < a.length', replacement: 'at <= a.length' },
    { file: 'src/oauth/client-authentication.ts', original: 'colons.length < most' },
    { file: 'src/resource-server/open-streams.ts', original: 'at < all.length', replacement: 'at <= all.length' },
    { file: 'src/oauth/media-type.ts', original: 'quality >= 0', replacement: 'quality > 0' },
  ],
  'A member that is undefined is as good as none': [
    { file: 'src/oauth/client-authentication.ts', original: 'secret === undefined', replacement: 'false' },
    { file: 'src/resource-server/client-proof.ts', original: 'clientKey.kid === undefined', replacement: 'false' },
    {
      file: 'src/resource-server/introspection-verifier.ts',
      original: 'options.remembered === undefined',
      replacement: 'false',
    },
    {
      file: 'src/resource-server/jwks-verifier.ts',
      original: 'options.remembered === undefined',
      replacement: 'false',
    },
    { file: 'src/resource-server/metadata.ts', original: 'resource.name === undefined', replacement: 'false' },
    { file: 'src/resource-server/metadata.ts', original: 'signed === undefined', replacement: 'false' },
  ],
  'Of several that are equally good another is taken': [
    {
      file: 'src/resource-server/proof-memory.ts',
      original: 'marks.used.size > largest.used.size',
      replacement: 'marks.used.size >= largest.used.size',
    },
  ],
  'It spares time or memory, and changes no answer': [
    { file: 'src/identity/token-memory.ts', original: 'together?.size === 0', replacement: 'false' },
    { file: 'src/identity/token-memory.ts', original: 'capacity === 0', replacement: 'false' },
    { file: 'src/oauth/dpop-nonce.ts', original: 'Math.abs(each - turn) > 2' },
    { file: 'src/oauth/dpop-proof.ts', original: '!known' },
    { file: 'src/oauth/jose.ts', original: "loading ??= import('jose')" },
    { file: 'src/oauth/parameters.ts', original: 'others.length === 0', replacement: 'false' },
    { file: 'src/resource-server/jwks-verifier.ts', original: 'candidates.slice(1)', replacement: 'candidates' },
    { file: 'src/resource-server/key-set.ts', original: 'known', replacement: 'false' },
    { file: 'src/resource-server/proof-memory.ts', original: 'now >= swept', replacement: 'now > swept' },
    { file: 'src/oauth/dpop-proof.ts', original: 'claimed === url', replacement: 'false' },
    { file: 'src/oauth/parameters.ts', original: 'declared === null', replacement: 'true' },
    { file: 'src/oauth/resource.ts', original: 'a === b', replacement: 'false' },
  ],
  'The text was found to be one line before, so that a greedy rest ends where it ends': [
    {
      file: 'src/oauth/redirect-uri.ts',
      original: String.raw`/^([A-Za-z][A-Za-z0-9+.-]*):(?:\/\/([^/?]*))?(.*)$/`,
      replacement: String.raw`/^([A-Za-z][A-Za-z0-9+.-]*):(?:\/\/([^/?]*))?(.*)/`,
    },
    {
      file: 'src/oauth/redirect-uri.ts',
      original: String.raw`/^http:\/\/(\[[^\]]*\]|[^:/?]*)(?::[0-9]+)?(.*)$/`,
      replacement: String.raw`/^http:\/\/(\[[^\]]*\]|[^:/?]*)(?::[0-9]+)?(.*)/`,
    },
  ],
  'Both sides of a comparison are changed alike': [
    { file: 'src/oauth/resource.ts', original: 'origin.toLowerCase()', replacement: 'origin.toUpperCase()' },
  ],
}

export const harmless: readonly Harmless[] = Object.values(reasons).flat()
