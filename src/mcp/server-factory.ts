import { getAccessToken, NoAccessToken, type TokenSource } from '../identity/context.ts'
import { accessTokenOf } from './token-of.ts'

/**
 * Makes a server factory refuse where the gate is not in front, so that a forgotten gate is an error and not an open door.
 * @param source what must have verified the caller's token
 * @returns a factory that throws `NoAccessToken` when it is called for an unverified request
 */
export const guardFactory =
  <Arguments extends readonly unknown[], Server>(
    source: TokenSource<unknown>,
    factory: (...args: Arguments) => Server,
  ): ((...args: Arguments) => Server) =>
  (...args) => {
    if (!accessTokenOf(args[0], source) && !getAccessToken(source)) {
      throw new NoAccessToken('this server is made only behind its gate: put `protect` or `gate` in front of it')
    }
    return factory(...args)
  }
