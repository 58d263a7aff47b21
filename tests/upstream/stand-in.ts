import { checkedClaims } from '../../src/upstream/claims.ts'
import type { Provider } from '../../src/upstream/provider.ts'
import { redirected } from '../support/emulate.ts'
import { plainRequest, redirecting, redirectUri, testContext } from './context.ts'
import type { Lie, startLyingProvider } from './lying-provider.ts'

/** Where the provider is to be found: the prefix of all its addresses, and the issuer of its metadata. */
export interface Place {
  readonly base: string
  readonly issuer?: string
}

/** A provider's stand-in, made of what its documentation says of its tokens: it is found at the provider's own addresses. */
export const standIn =
  (running: () => Awaited<ReturnType<typeof startLyingProvider>>) =>
  async (
    preset: Provider<unknown>,
    { base, issuer = base }: Place,
    lie: Lie,
    others: Readonly<Record<string, typeof fetch>> = {},
  ) => {
    const provider = running()

    const origin = base.replace(/\/$/, '')
    const endpoints = Object.fromEntries(
      [
        ['authorization_endpoint', 'authorize'],
        ['token_endpoint', 'token'],
        ['userinfo_endpoint', 'userinfo'],
        ['jwks_uri', 'keys'],
      ].map(([name, path]) => [name, `${origin}/${path}`]),
    )
    provider.tell({
      ...lie,
      metadata: { issuer, ...endpoints, ...lie.metadata },
      claims: { iss: issuer, ...lie.claims },
    })
    const stood = redirected({ [origin]: provider.issuer })
    const emulated: typeof fetch = (input, init) => {
      const other = Object.entries(others).find(([prefix]) => String(input).startsWith(prefix))?.[1]
      return other ? other(input, init) : stood(input, init)
    }
    const open = redirecting(preset.open(await testContext({ fetch: emulated })))
    const asked: URL[] = []
    const signIn = async () => {
      const { url, pending } = await open.begin(plainRequest)
      asked.push(new URL(url))
      const response = await emulated(url, { redirect: 'manual' })
      return open.complete(new URL(response.headers.get('location') ?? ''), pending, redirectUri)
    }
    const claims = async () => checkedClaims(preset, await signIn())
    return { open, signIn, claims, asked }
  }
