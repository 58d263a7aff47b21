import { createPrivateKey, type KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { importJWK, type JWK } from 'jose'
import type { ClientAuth, CryptoKey, ServerMetadata } from 'openid-client'
import { ProviderUnavailable } from './provider.ts'

type Library = typeof import('openid-client')

/** How this server shows a provider that it is its client: one of these, or none for a public client. */
export interface ClientCredentialOptions {
  /** A function is asked each time: for secrets that change, or come from a vault. */
  readonly clientSecret?: string | (() => string | Promise<string>)
  /** A key whose public half is registered there (`private_key_jwt`). */
  readonly clientKey?: ClientKey
  /**
   * A file with a JWT that the platform writes and renews, such as the one that `AZURE_FEDERATED_TOKEN_FILE` names or a Kubernetes service
   * account's: the provider takes it for this client's. It is read each time.
   */
  readonly clientAssertionFile?: string
}

export interface ClientKey {
  /** A JWK, or PKCS #8 in PEM. RSA of 2048 bits or more, P-256, or Ed25519. */
  readonly privateKey: JWK | string
  /** Default: the JWK's own, else `RS256`, `ES256` or `EdDSA`, as the key is. */
  readonly algorithm?: 'RS256' | 'PS256' | 'ES256' | 'EdDSA'
  /** The `kid` that the provider knows the key by. Default: the JWK's own. */
  readonly keyId?: string
  /** Of the certificate that the provider knows: the base64url SHA-256 of its DER (`x5t#S256`). */
  readonly certificateThumbprint?: string
  /** Whom assertions are for. Default: the issuer. */
  readonly audience?: 'issuer' | 'token_endpoint'
}

export interface ClientAuthenticationOptions extends ClientCredentialOptions {
  /** Default: what the provider's metadata name, `client_secret_basic` first. */
  readonly clientAuthentication?: 'client_secret_basic' | 'client_secret_post' | 'none'
}

/** @see RFC 6749 §2.3, RFC 7523 §2.2 */
export type AuthenticateClient = (library: Library, metadata: ServerMetadata) => ClientAuth

/** @throws TypeError for a credential that can't be right; it says nothing of the credential */
export const clientCredential = (id: string, options: ClientAuthenticationOptions): AuthenticateClient => {
  const { clientSecret, clientKey, clientAssertionFile, clientAuthentication: method } = options
  const given = [clientSecret, clientKey, clientAssertionFile].filter((each) => each !== undefined && each !== '')
  if (given.length > 1) throw new TypeError(`${id}: clientSecret, clientKey and clientAssertionFile exclude each other`)
  if (clientKey) {
    const sign = keyAuthentication(id, clientKey)
    return (library) => sign(library)
  }
  if (clientAssertionFile) return () => fileAuthentication(clientAssertionFile)
  if (!clientSecret || method === 'none') return (library) => library.None()
  return (library, metadata) => {
    // Every server must support Basic (RFC 6749 §2.3.1), but not every one does.
    const methods = metadata.token_endpoint_auth_methods_supported ?? ['client_secret_basic']
    const basic = method ? method === 'client_secret_basic' : methods.includes('client_secret_basic')
    const send = basic ? library.ClientSecretBasic : library.ClientSecretPost
    if (typeof clientSecret === 'string') return send(clientSecret)
    return async (as, client, body, headers) => send(await clientSecret())(as, client, body, headers)
  }
}

/** For a provider that knows no public clients. @throws TypeError */
export const requireCredential = (id: string, options: ClientCredentialOptions): void => {
  const { clientSecret, clientKey, clientAssertionFile } = options
  if (!clientSecret && !clientKey && !clientAssertionFile) {
    throw new TypeError(`${id}: one of clientSecret, clientKey and clientAssertionFile is needed`)
  }
}

const keyAuthentication = (id: string, { audience, certificateThumbprint, ...clientKey }: ClientKey) => {
  const { jwk, algorithm } = readKey(id, clientKey)
  const kid = clientKey.keyId ?? jwk.kid
  const made: { key?: Promise<CryptoKey> } = {}
  const load = () => {
    made.key ??= importJWK(jwk, algorithm) as Promise<CryptoKey>
    return made.key
  }
  return (library: Library): ClientAuth =>
    async (as, client, body, headers) => {
      const key = await load()
      const withKeyId = typeof kid === 'string' ? { key, kid } : key
      const sign = library.PrivateKeyJwt(withKeyId, {
        [library.modifyAssertion]: (header, payload) => {
          if (certificateThumbprint !== undefined) header['x5t#S256'] = certificateThumbprint
          if (audience === 'token_endpoint' && as.token_endpoint !== undefined) payload.aud = as.token_endpoint
        },
      })
      await sign(as, client, body, headers)
    }
}

/** @throws TypeError */
export const readKey = (id: string, { privateKey, algorithm: asked }: Pick<ClientKey, 'privateKey' | 'algorithm'>) => {
  const wrong = () =>
    new TypeError(`${id}: clientKey.privateKey is an RSA, P-256 or Ed25519 private key, as JWK or PKCS #8`)
  let key: KeyObject
  try {
    key = createPrivateKey(typeof privateKey === 'string' ? privateKey : { key: privateKey, format: 'jwk' })
  } catch {
    // What the parser says may hold a part of the key.
    throw wrong()
  }
  const { modulusLength = 0, namedCurve } = key.asymmetricKeyDetails ?? {}
  const type = key.asymmetricKeyType
  const fits =
    type === 'rsa' && modulusLength >= 2048
      ? ['RS256', 'PS256']
      : type === 'ec' && namedCurve === 'prime256v1'
        ? ['ES256']
        : type === 'ed25519'
          ? ['EdDSA']
          : []
  const own: unknown = typeof privateKey === 'string' ? undefined : privateKey.alg
  const algorithm = asked ?? fits.find((each) => each === own) ?? fits[0]
  if (algorithm === undefined) throw wrong()
  if (!fits.includes(algorithm)) throw new TypeError(`${id}: clientKey.algorithm does not fit the key`)
  const kid: unknown = typeof privateKey === 'string' ? undefined : privateKey.kid
  return { jwk: { ...key.export({ format: 'jwk' }), ...(typeof kid === 'string' ? { kid } : {}) }, algorithm }
}

const largestAssertion = 32_768

const fileAuthentication = (path: string): ClientAuth => {
  return async (_as, { client_id }, body) => {
    const assertion = await readFile(path, 'utf8').then(
      (text) => text.trim(),
      () => undefined,
    )
    const isJwt = assertion !== undefined && assertion.length <= largestAssertion && jwtForm.test(assertion)
    if (!isJwt) throw new ProviderUnavailable('the file of our client’s assertion holds none', { nothingDone: true })
    body.set('client_id', client_id)
    body.set('client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
    body.set('client_assertion', assertion)
  }
}

const jwtForm = /^[\w-]+\.[\w-]+\.[\w-]+$/
