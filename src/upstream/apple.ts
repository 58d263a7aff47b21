import { importJWK, SignJWT } from 'jose'
import type { UpstreamClaims } from '../identity/access-token.ts'
import type { Json, JsonObject } from '../identity/json.ts'
import { readKey } from './client-credential.ts'
import { openid, type PresetOptions } from './openid.ts'
import type { Provider } from './provider.ts'

export interface AppleOptions<Claims = UpstreamClaims> extends PresetOptions<Claims> {
  /** The ten characters of your developer account. */
  readonly teamId: string
  /** Of the Sign in with Apple private key. */
  readonly keyId: string
  /** That key: the text of the `.p8` file. */
  readonly privateKey: string
}

const issuer = 'https://appleid.apple.com'

/**
 * Sign in with Apple. `clientId` is the Services ID.
 *
 * Apple's client secret is a JWT of this client's key; it is made for each request. Where name or e-mail are asked for, Apple posts its answer.
 * It gives the name at the first sign-in only, beside the code and unsigned: it is kept with the identity for those that follow, and is a name
 * and nothing to decide by. `email` may be a relay's address; `email_verified` and `is_private_email` are booleans here, though Apple may say them as text. There is
 * no userinfo, and a refresh brings no new refresh token. Revoking one token could end others of the person, so nothing is revoked there.
 *
 * Set up: a Services ID with the return URL `<url>/authorize/callback/apple` (https, no loopback), and a key for Sign in with Apple.
 *
 * @see https://developer.apple.com/documentation/sign_in_with_apple/generate_and_validate_tokens
 */
export const apple = <Claims = UpstreamClaims>(options: AppleOptions<Claims>): Provider<Claims> => {
  const { teamId, keyId, privateKey, ...common } = options
  const { jwk, algorithm } = readKey('apple', { privateKey, algorithm: 'ES256' })
  const clientSecret = async () =>
    new SignJWT({})
      .setProtectedHeader({ alg: algorithm, kid: keyId })
      .setIssuer(teamId)
      .setSubject(options.clientId)
      .setAudience(issuer)
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(await importJWK(jwk, algorithm))
  return openid({
    id: 'apple',
    name: 'Apple',
    ...common,
    issuer,
    clientSecret,
    clientAuthentication: 'client_secret_post',
    scopes: options.scopes ?? ['openid', 'name', 'email'],
    responseMode: 'form_post',
    answerClaims: nameOf,
    userinfo: false,
    revokeTokens: false,
    derive: ({ email_verified: verified, is_private_email: relayed }) => ({
      ...booleanOf('email_verified', verified),
      ...booleanOf('is_private_email', relayed),
    }),
  })
}

const booleanOf = (name: string, value: Json | undefined): JsonObject =>
  value === 'true' || value === 'false' ? { [name]: value === 'true' } : {}

const longestName = 200

/** The name in Apple's `user`, and no more of it: its e-mail address is nobody's word. */
const nameOf = (parameters: URLSearchParams): JsonObject => {
  try {
    const { name } = JSON.parse(parameters.get('user') ?? '{}') as {
      name?: { firstName?: unknown; lastName?: unknown }
    }
    const given = text(name?.firstName)
    const family = text(name?.lastName)
    const whole = [given, family].filter((part) => part !== undefined).join(' ')
    return {
      ...(given === undefined ? {} : { given_name: given }),
      ...(family === undefined ? {} : { family_name: family }),
      ...(whole === '' ? {} : { name: whole }),
    }
  } catch {
    return {}
  }
}

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' && value.length <= longestName ? value : undefined
