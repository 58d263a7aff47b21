import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { OAuthError } from '../../src/oauth/errors.ts'
import { readForm, readJson, readParameters } from '../../src/oauth/parameters.ts'

const failure = async (attempt: () => unknown): Promise<OAuthError> => {
  try {
    await attempt()
  } catch (error) {
    if (error instanceof OAuthError) return error
    throw error
  }
  throw new Error('it was not refused')
}

const post = (body: BodyInit | null, type?: string, headers: Record<string, string> = {}): Request =>
  new Request('https://as.example.com/token', {
    method: 'POST',
    body,
    headers: { ...(type ? { 'content-type': type } : {}), ...headers },
    // @ts-expect-error: a stream as a body needs it in Node, and the DOM's types don't know it
    duplex: 'half',
  })

const formType = 'application/x-www-form-urlencoded'

test('reads what is named, leaves out what is empty, ignores the rest', () => {
  const source = new URLSearchParams(
    'client_id=a&scope=&state=%20x%26&resource=https://r1&resource=https://r2&foo=1&foo=2',
  )
  expect(readParameters(source, ['client_id', 'scope', 'state', 'resource', 'prompt'])).toStrictEqual({
    client_id: 'a',
    state: ' x&',
    resource: ['https://r1', 'https://r2'],
  })
  expect(readParameters(new URLSearchParams('resource='), ['resource'])).toEqual({})
})

test('a parameter that is there twice is refused, also where one of the two is empty or both are equal', async () => {
  for (const query of ['state=a&state=b', 'state=a&state=a', 'state=&state=a']) {
    const error = await failure(() => readParameters(new URLSearchParams(query), ['state']))
    expect(error).toMatchObject({ code: 'invalid_request', status: 400, description: 'state was sent more than once' })
  }
})

test('lengths and counts are bounded, control characters refused', async () => {
  const read = (source: URLSearchParams) => () => readParameters(source, ['state', 'scope', 'resource'])
  expect(read(new URLSearchParams({ state: 'x'.repeat(8192) }))().state).toHaveLength(8192)
  expect((await failure(read(new URLSearchParams({ state: 'x'.repeat(8193) })))).code).toBe('invalid_request')
  expect((await failure(read(new URLSearchParams({ scope: 'x'.repeat(4097) })))).code).toBe('invalid_request')
  expect((await failure(read(new URLSearchParams('state=a%0d%0aSet-Cookie:b')))).code).toBe('invalid_request')
  expect((await failure(read(new URLSearchParams('scope=a%00')))).code).toBe('invalid_request')
  expect((await failure(read(new URLSearchParams('resource=https://r&'.repeat(17))))).code).toBe('invalid_request')
})

test('names from an object’s prototype are names like any other', () => {
  expect(readParameters(new URLSearchParams('a=1'), ['toString'])).toEqual({})
  expect(readParameters(new URLSearchParams('constructor=1'), ['constructor']).constructor).toBe('1')
})

test('what is read is what was sent, for any values', () => {
  const value = fc.string({ minLength: 1, maxLength: 200 }).filter((text) => !/[\p{Cc}\p{Cs}]/u.test(text))
  fc.assert(
    fc.property(fc.record({ client_id: value, scope: value, state: value }), (values) => {
      expect(readParameters(new URLSearchParams(values), ['client_id', 'scope', 'state'])).toEqual(values)
    }),
  )
})

test('a form is read only as a form', async () => {
  const form = await readForm(post('a=1&b=%C3%A4', `${formType}; charset=UTF-8`), 100)
  expect([...form]).toEqual([
    ['a', '1'],
    ['b', 'ä'],
  ])
  expect([...(await readForm(post('a=1', 'Application/X-WWW-Form-Urlencoded'), 100))]).toEqual([['a', '1']])
  expect([...(await readForm(post(null, formType), 100))]).toEqual([])
  for (const type of ['application/json', 'multipart/form-data', 'text/plain', undefined]) {
    expect(await failure(() => readForm(post(new TextEncoder().encode('a=1'), type), 100))).toMatchObject({
      code: 'invalid_request',
      status: 400,
    })
  }
})

test('fault 8: a body above the bound is refused with 413, by its declared length or, undeclared, while it is read', async () => {
  expect((await readForm(post('a'.repeat(100), formType), 100)).size).toBe(1)
  expect(await failure(() => readForm(post('a'.repeat(101), formType), 100))).toMatchObject({
    code: 'invalid_request',
    status: 413,
  })
  expect(await failure(() => readForm(post('a', formType, { 'content-length': '20971520' }), 100))).toMatchObject({
    status: 413,
  })

  let pulled = 0
  let cancelled = false
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      pulled += 1
      // Who reads on and on must not fill this machine's memory.
      if (pulled > 1000) controller.error(new Error('read on and on'))
      else controller.enqueue(new Uint8Array(64).fill(97))
    },
    cancel: () => {
      cancelled = true
    },
  })
  expect(await failure(() => readJson(post(endless, 'application/json'), 1000))).toMatchObject({ status: 413 })
  expect(pulled).toBeLessThan(30)
  await new Promise((resolve) => setImmediate(resolve))
  expect(cancelled).toBe(true)
})

test('a body that breaks off, is no UTF-8 or was read before is an error of ours, not an exception', async () => {
  const broken = new ReadableStream({ pull: (controller) => controller.error(new Error('reset by peer at 10.0.0.7')) })
  const error = await failure(() => readForm(post(broken, formType), 100))
  expect(error.code).toBe('invalid_request')
  expect(error.description).not.toContain('10.0.0.7')
  expect((await failure(() => readForm(post(new Uint8Array([97, 0xff]), formType), 100))).code).toBe('invalid_request')
  const used = post('a=1', formType)
  await used.text()
  expect((await failure(() => readForm(used, 100))).code).toBe('server_error')
})

test('characters that are split between chunks are read whole', async () => {
  const bytes = new TextEncoder().encode('{"name":"Zoë 🗝"}')
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 5 }), async (size) => {
      const chunks = new ReadableStream<Uint8Array>({
        start: (controller) => {
          for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size))
          controller.close()
        },
      })
      expect(await readJson(post(chunks, 'application/json'), 100)).toEqual({ name: 'Zoë 🗝' })
    }),
  )
})

test('JSON is read only as JSON, and its errors quote nothing of the body', async () => {
  expect(await readJson(post('{"a":[1]}', 'application/json; charset=utf-8'), 100)).toEqual({ a: [1] })
  expect(await failure(() => readJson(post('{}', 'text/plain'), 100))).toMatchObject({ code: 'invalid_request' })
  const error = await failure(() =>
    readJson(post('{"secret":hunter2', 'application/json'), 100, 'invalid_client_metadata'),
  )
  expect(error).toMatchObject({ code: 'invalid_client_metadata', status: 400 })
  expect(`${error.message}${error.stack}`).not.toContain('hunter2')
  expect(error.cause).toBeUndefined()
})

const declared = (body: string, type = formType): Request =>
  post(body, type, { 'content-length': String(new TextEncoder().encode(body).length) })

test('a body that says how long it is is read like any other', async () => {
  expect([...(await readForm(declared('a=1&b=%C3%A4'), 12))]).toEqual([
    ['a', '1'],
    ['b', 'ä'],
  ])
  expect(await failure(() => readForm(declared('a=1&b=%C3%A4x'), 12))).toMatchObject({ status: 413 })
  // Whoever says less than it is.
  const lying = post('a'.repeat(101), formType, { 'content-length': '1' })
  expect(await failure(() => readForm(lying, 100))).toMatchObject({ code: 'invalid_request', status: 413 })
  const exact = post('a'.repeat(100), formType, { 'content-length': '1' })
  expect((await readForm(exact, 100)).size).toBe(1)
})

test('so is JSON', async () => {
  const json = 'application/json'
  expect(await readJson(declared('{"a":"ä"}', json), 10)).toEqual({ a: 'ä' })
  expect(await failure(() => readJson(declared('{"a":"äx"}', json), 10))).toMatchObject({ status: 413 })
  const lying = (length: number) => post(`"${'a'.repeat(length - 2)}"`, json, { 'content-length': '1' })
  expect(await failure(() => readJson(lying(101), 100))).toMatchObject({ code: 'invalid_request', status: 413 })
  expect(await readJson(lying(100), 100)).toBe('a'.repeat(98))
})

test('what is no UTF-8 is refused in it, too', async () => {
  for (const [read, type, ...bytes] of [
    [readForm, formType, 97, 61, 0xff],
    [readJson, 'application/json', 34, 0xff, 34],
  ] as const) {
    const request = post(new Uint8Array(bytes), type, { 'content-length': String(bytes.length) })
    const error = await failure(() => read(request, 100))
    expect([error.code, error.description]).toEqual(['invalid_request', 'the body is not valid UTF-8'])
  }
})

test('a body that says how long it is, and breaks off or was read before, is an error of ours too', async () => {
  const broken = new ReadableStream({ pull: (controller) => controller.error(new Error('reset by peer at 10.0.0.7')) })
  const error = await failure(() => readForm(post(broken, formType, { 'content-length': '3' }), 100))
  expect(error).toMatchObject({ code: 'invalid_request', cause: expect.any(Error) })
  expect(error.description).not.toContain('10.0.0.7')
  const used = declared('a=1')
  await used.text()
  expect(await failure(() => readForm(used, 100))).toMatchObject({
    code: 'server_error',
    reason: expect.stringContaining('before any body parser'),
  })
})

test('a body that does not arrive is given up, and left', async () => {
  vi.useFakeTimers()
  // Its timer is that of all bodies: none may have begun it yet.
  vi.resetModules()
  const { readForm } = await import('../../src/oauth/parameters.ts')
  try {
    let cancelled = false
    const silent = new ReadableStream<Uint8Array>({
      cancel: () => {
        cancelled = true
      },
    })
    const refused = readForm(post(silent, formType), 100).catch((error: unknown) => error)
    await vi.advanceTimersByTimeAsync(30_000)
    expect(cancelled).toBe(false)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(await refused).toMatchObject({ code: 'invalid_request', status: 408 })
    expect(cancelled).toBe(true)
    await readForm(post('a=1', formType), 100)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(vi.getTimerCount()).toBe(0)
  } finally {
    vi.useRealTimers()
  }
})

test('JSON has its own media type, or one that ends as RFC 6839 says', async () => {
  for (const type of [
    'application/json',
    'Application/JSON ; charset=utf-8',
    'application/scim+json',
    'application/x+json',
  ]) {
    expect(await readJson(post('{}', type), 100)).toEqual({})
  }
  const refused = [
    'text/json',
    'xapplication/a+json',
    'application/+json',
    'application/a+json2',
    'application/;+json',
    '',
  ]
  for (const type of refused) {
    const request = post(new TextEncoder().encode('{}'), type === '' ? undefined : type)
    expect([type, (await failure(() => readJson(request, 100))).code]).toEqual([type, 'invalid_request'])
  }
})

test('a body that is no UTF-8 is refused, and one without content is empty', async () => {
  expect((await failure(() => readForm(post(new Uint8Array([97, 61, 0xff]), formType), 100))).description).toBe(
    'the body is not valid UTF-8',
  )
  expect([...(await readForm(post('', formType), 100))]).toEqual([])
})

test.each<[string, number]>([
  ['client_id', 2048],
  ['redirect_uri', 2048],
  ['resource', 2048],
  ['audience', 2048],
  ['assertion', 16_384],
  ['state', 8192],
  ['token', 16_384],
  ['subject_token', 16_384],
  ['actor_token', 16_384],
  ['nonce', 4096],
])('%s may have %i characters', async (name, longest) => {
  const read = (length: number) => () => readParameters(new URLSearchParams({ [name]: 'x'.repeat(length) }), [name])
  expect(read(longest)()).toHaveProperty(name)
  expect((await failure(read(longest + 1))).description).toBe(`${name} is too long`)
})

test.each(['resource', 'audience'])('%s may be sent more than once, sixteen times at most', async (name) => {
  const source = (count: number) =>
    new URLSearchParams(Array.from({ length: count }, (_, index) => [name, `r${index}`]))
  expect(readParameters(source(16), [name])).toHaveProperty([name, 'length'], 16)
  expect((await failure(() => readParameters(source(17), [name]))).description).toBe(`too many ${name} parameters`)
})

test.each(['\u0000', '\u001f', '\u007f'])(
  'a control character is refused wherever it stands: %j',
  async (character) => {
    for (const state of [`${character}a`, `a${character}`, `a${character}b`]) {
      expect((await failure(() => readParameters(new URLSearchParams({ state }), ['state']))).code).toBe(
        'invalid_request',
      )
    }
  },
)
