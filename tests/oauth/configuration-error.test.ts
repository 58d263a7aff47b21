import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { ConfigurationError, refusedBySchema } from '../../src/oauth/configuration-error.ts'

/** What is said of the first thing that the schema finds wrong. */
const said = (schema: z.ZodType, value: unknown, root?: string): { path: string; expected: string } => {
  const issue = schema.safeParse(value).error?.issues[0]
  if (!issue) throw new Error('nothing is wrong')
  const { path, expected } = root === undefined ? refusedBySchema(issue) : refusedBySchema(issue, root)
  return { path, expected }
}

/** A schema that finds a number wrong at the end of a path. */
const at = (...path: readonly PropertyKey[]): readonly [z.ZodType, unknown] => {
  let schema: z.ZodType = z.string()
  let value: unknown = 5
  for (const part of path.toReversed()) {
    if (typeof part === 'number') {
      schema = z.array(schema)
      value = [value]
    } else {
      schema = z.record(z.any(), schema)
      value = { [part]: value }
    }
  }
  return [schema, value]
}

describe('where a wrong value is, as it would be written in code', () => {
  test.each<[readonly PropertyKey[], string]>([
    [['url'], 'url'],
    [['a'], 'a'],
    [['_a1'], '_a1'],
    [['lifetimes', 'accessToken'], 'lifetimes.accessToken'],
    [['clients', 0, 'exchange', 'from', 0], 'clients[0].exchange.from[0]'],
    [['resources', '/mcp', 'scopes'], 'resources["/mcp"].scopes'],
    [['resources', 'two words'], 'resources["two words"]'],
    [['resources', '1st'], 'resources["1st"]'],
    [['resources', 'a"b'], String.raw`resources["a\"b"]`],
    [['resources', ''], 'resources[""]'],
    [['resources', Symbol('own')], 'resources[Symbol(own)]'],
    [[0], '[0]'],
    [['/mcp'], '["/mcp"]'],
  ])('%j is %s', (path, written) => {
    const [schema, value] = at(...path)
    expect(said(schema, value).path).toBe(written)
  })

  test('below a root, which stands alone where the whole is wrong', () => {
    expect(said(...at('jwks', 'keys', 0), 'client').path).toBe('client.jwks.keys[0]')
    expect(said(...at(0), 'clients').path).toBe('clients[0]')
    expect(said(...at(), 'client').path).toBe('client')
  })

  test('what has no name at all is the options', () => {
    expect(said(...at()).path).toBe('options')
  })
})

describe('what was expected there', () => {
  test.each<[z.ZodType, unknown, string]>([
    [z.string(), 5, 'string, received number'],
    [z.number().positive(), 0, 'number to be >0'],
    [z.string().refine(() => false, 'expected a domain name'), '', 'a domain name'],
    [z.string().refine(() => false, 'unexpected end, expected JSON'), '', 'JSON'],
    [z.string().refine(() => false, 'expected what one has expected before'), '', 'what one has expected before'],
    [z.string().refine(() => false, 'one host of its own'), '', 'one host of its own'],
    [z.strictObject({}), { usptream: 1 }, 'no member "usptream"'],
    [z.strictObject({}), { usptream: 1, secert: 2 }, 'no member "usptream", "secert"'],
  ])('%#', (schema, value, expected) => {
    expect(said(schema, value).expected).toBe(expected)
  })
})

test('the error says both, and has both as data', () => {
  const error = refusedBySchema({ path: ['lifetimes', 'accessToken'], message: 'Too small: expected number to be >0' })
  expect(error).toBeInstanceOf(ConfigurationError)
  expect(error).toMatchObject({
    name: 'ConfigurationError',
    path: 'lifetimes.accessToken',
    expected: 'number to be >0',
    message: 'lifetimes.accessToken: expected number to be >0',
  })
})
