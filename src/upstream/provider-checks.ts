import { ConfigurationError } from '../oauth/configuration-error.ts'
import type { Provider } from './provider.ts'

/**
 * Each provider has an id of its own: it is in the redirect URI, and says whose the sessions in the store are. With one id for two, what one said
 * would be read as the other's.
 * @throws ConfigurationError
 */
export const checkProviders = (upstream: Provider<unknown> | readonly Provider<unknown>[]): void => {
  const list = Array.isArray(upstream)
  const seen = new Set<string>()
  for (const [index, provider] of (list ? upstream : [upstream]).entries()) {
    const here = list ? `upstream[${index}]` : 'upstream'
    // Types don't reach what was written in JavaScript.
    if (typeof provider?.open !== 'function') {
      throw new ConfigurationError(here, 'a provider, such as openid({ … }), or a list of them')
    }
    const { id, claims } = provider
    if (typeof id !== 'string' || !/^[a-z0-9]+(-+[a-z0-9]+)*$/.test(id)) {
      throw new ConfigurationError(
        `${here}.id`,
        'lower-case letters, digits and hyphens: it is part of the redirect URI',
      )
    }
    if (seen.has(id)) {
      throw new ConfigurationError(`${here}.id`, `an id of its own: another provider is "${id}" already`)
    }
    seen.add(id)
    if (claims !== undefined && typeof claims?.['~standard']?.validate !== 'function') {
      throw new ConfigurationError(`${here}.claims`, 'a Standard Schema, such as one of Zod 3.24 or newer')
    }
  }
}
