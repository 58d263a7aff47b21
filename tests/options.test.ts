import { expect, test } from 'vitest'
import { ConfigurationError } from '../src/oauth/configuration-error.ts'
import { checkOptions, type Options } from '../src/options.ts'

const loopback = { url: 'http://localhost:8787', resources: { '/mcp': {} } }
const open = { ...loopback, url: 'https://auth.example.com', secret: 'a secret for tests that is long enough' }

const check = (options: object) => checkOptions(options as Options<unknown>)

test('client metadata documents: rules are domain names, and this computer is only for development', () => {
  for (const rules of [undefined, false, {}, { allow: ['claude.ai', '*.example.com'], deny: ['a.example.com'] }]) {
    check({ ...open, clientMetadataDocuments: rules })
  }
  check({ ...loopback, clientMetadataDocuments: { loopback: true, allow: ['localhost'] } })
  check({ ...open, clientMetadataDocuments: { loopback: false } })
  for (const [rules, path] of [
    [{ loopback: true }, 'clientMetadataDocuments.loopback'],
    [true, 'clientMetadataDocuments: expected rules for domains, or false'],
    [{ allow: ['https://claude.ai'] }, 'clientMetadataDocuments.allow[0]: expected a domain name'],
    [{ deny: ['Claude.ai'] }, 'clientMetadataDocuments'],
    [{ allowed: [] }, 'expected no member "allowed"'],
  ] as const) {
    expect(() => check({ ...open, clientMetadataDocuments: rules }), JSON.stringify(rules)).toThrow(ConfigurationError)
    expect(() => check({ ...open, clientMetadataDocuments: rules })).toThrow(path)
  }
})
