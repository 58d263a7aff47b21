import { defaultLifetimes } from './authorization-server/context.ts'
import { base64url } from './crypto/bytes.ts'
import type { Audit } from './events/audit.ts'
import { systemClock } from './events/clock.ts'
import type { Logger } from './events/logger.ts'
import { type Random, systemRandom } from './events/random.ts'
import { readSigningKeys, SigningKeysInvalid } from './keys/external-keys.ts'
import { rotationPolicy, type SigningKeys } from './keys/key-options.ts'
import { type KeyRing, openKeyRing } from './keys/key-ring.ts'
import { secretBeside } from './keys/secret-file.ts'
import { ConfigurationError } from './oauth/configuration-error.ts'
import type { Resource } from './oauth/resource.ts'
import type { Options } from './options.ts'
import type { Store } from './store/store.ts'

export interface KeyParts {
  readonly options: Options<unknown>
  readonly resources: readonly Resource[]
  readonly store: Store
  readonly role?: 'server' | 'administrator'
  readonly logger: Logger
  readonly audit: Audit
}

/**
 * Opens the keys of a server, or makes them.
 * @throws StoreUnavailable, KeyRingUnreadable, ConfigurationError
 */
export const openServerKeys = async ({
  options,
  resources,
  store,
  role = 'server',
  logger,
  audit,
}: KeyParts): Promise<KeyRing> => {
  const { clock = systemClock, random = systemRandom, signing = 'ES256', keyRotation = {}, lifetimes } = options
  const { accessToken, grant } = { ...defaultLifetimes, ...lifetimes }
  const longest = Math.max(accessToken, ...resources.map(({ accessTokenLifetime = 0 }) => accessTokenLifetime))
  return openKeyRing({
    ...{ store, role, clock, random, audit, logger },
    secrets: await secretsOf(options, store, random),
    rotation: rotationPolicy(keyRotation, { accessToken: longest, grant }),
    ...(typeof signing === 'string' ? { algorithm: signing } : { algorithm: 'ES256', external: ownKeys(signing) }),
  })
}

const ownKeys = (source: SigningKeys) => {
  try {
    return readSigningKeys(source)
  } catch (error) {
    if (!(error instanceof SigningKeysInvalid)) throw error
    throw new ConfigurationError('file' in source ? 'signing.file' : 'signing.keys', error.message)
  }
}

const secretsOf = async (
  { secret }: Pick<Options<unknown>, 'secret'>,
  store: Store,
  random: Random,
): Promise<readonly [string, ...string[]]> => {
  if (typeof secret === 'string') return [secret]
  if (secret) return secret
  if (store.location.kind === 'file') return [await secretBeside(store.location.path, random)]
  if (store.location.kind === 'process') return [base64url(random.bytes(32))]
  throw new ConfigurationError('secret', 'a secret, since the store is not a file beside which one could be kept')
}
