import { describe, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { type Countersign, countersign, type Options, type UpstreamClaims } from '../../src/index.ts'
import { memory } from '../../src/store/memory.ts'
import { github } from '../../src/upstream/github.ts'
import { google } from '../../src/upstream/google.ts'
import { hostSession } from '../../src/upstream/host.ts'
import { localAccounts } from '../../src/upstream/local.ts'
import { openid } from '../../src/upstream/openid.ts'

const mine = { clientId: 'me', clientSecret: 'a secret' }
const at = (id?: string) => openid({ ...mine, issuer: 'https://id.example.com', ...(id === undefined ? {} : { id }) })
const serve = (upstream: unknown) =>
  countersign({
    url: 'http://localhost:8787',
    store: memory(),
    resources: { '/mcp': {} },
    upstream,
  } as Options<unknown>)

describe('design 7: providers that can’t be right are refused at start, with their place', () => {
  test('what is right is taken', () => {
    const claims = z.looseObject({ email: z.string() })
    for (const upstream of [
      undefined,
      at(),
      at('acme-2'),
      [at(), at('acme'), localAccounts()],
      google({ ...mine, claims }),
    ]) {
      expect(() => serve(upstream)).not.toThrow()
    }
  })

  test('two of one id: what one said would be read as the other’s', () => {
    const other = openid({ ...mine, issuer: 'https://other.example.com' })
    expect(() => serve([at(), other])).toThrow(
      'upstream[1].id: expected an id of its own: another provider is "openid"',
    )
    expect(() => serve([localAccounts(), hostSession(() => ({ subject: 's' }), { id: 'local' })])).toThrow(
      'upstream[1].id',
    )
  })

  test.each(['', 'Acme', 'a b', 'a/b', '../a', 'a.b', '-a', 'a-', 'é', 7])('%o is no id', (id) => {
    expect(() => serve(at(id as string))).toThrow('upstream.id: expected lower-case letters')
    expect(() => serve([localAccounts(), at(id as string)])).toThrow('upstream[1].id: expected lower-case letters')
  })

  test.each([
    ['upstream: expected a provider', google],
    ['upstream: expected a provider', {}],
    ['upstream: expected a provider', 'google'],
    ['upstream: expected a provider', null],
    ['upstream[1]: expected a provider', [at(), undefined]],
    ['upstream.claims: expected a Standard Schema', google({ ...mine, claims: { email: 'string' } as never })],
    ['upstream[0].claims: expected a Standard Schema', [google({ ...mine, claims: null as never })]],
  ])('%s', (message, upstream) => {
    expect(() => serve(upstream)).toThrow(message)
  })
})

test('each provider’s schema types its own people: claims of several are of one of them', () => {
  const options = { url: 'http://localhost:8787', store: memory(), resources: { '/mcp': {} } }
  const employee = google({ ...mine, claims: z.object({ hd: z.string() }) })
  const developer = github({ ...mine, claims: z.object({ login: z.string() }) })
  const both = countersign({ ...options, upstream: [employee, developer] })
  expectTypeOf(both).toEqualTypeOf<Countersign<{ hd: string } | { login: string }>>()
  // Who has a local account has not satisfied the other’s schema.
  const withLocal = countersign({ ...options, upstream: [employee, localAccounts()] })
  expectTypeOf(withLocal).toEqualTypeOf<Countersign<{ hd: string } | UpstreamClaims>>()
  expectTypeOf(countersign({ ...options, upstream: [employee] })).toEqualTypeOf<Countersign<{ hd: string }>>()
  expectTypeOf(countersign({ ...options, upstream: employee })).toEqualTypeOf<Countersign<{ hd: string }>>()
  expectTypeOf(countersign(options)).toEqualTypeOf<Countersign>()
  expect(both.issuer).toBe(options.url)
})
