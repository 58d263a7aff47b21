import { createServer as createPlainServer, type RequestListener } from 'node:http'
import { createServer } from 'node:https'
import { type AddressInfo, createServer as createSocketServer } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createGuardedFetch, type GuardedFetchOptions } from '../../src/net/guarded-fetch.ts'
import { GuardedFetchError } from '../../src/net/guarded-fetch-error.ts'
import { type Certificates, makeCertificates } from '../support/certificates.ts'

let certificates: Certificates
const ends: (() => unknown)[] = []
beforeAll(async () => {
  certificates = await makeCertificates(['client.example', 'localhost'])
})
afterAll(() => Promise.all(ends.map((end) => end())))

/** An https server on loopback that names `client.example`. */
async function serve(listener: RequestListener, address = '127.0.0.1') {
  const seen: { host: string | undefined; servername: unknown; headers: NodeJS.Dict<string | string[]> }[] = []
  const server = createServer({ key: certificates.key, cert: certificates.certificate }, (request, response) => {
    seen.push({
      host: request.headers.host,
      servername: (request.socket as { servername?: unknown }).servername,
      headers: request.headers,
    })
    listener(request, response)
  })
  let connections = 0
  server.on('connection', () => connections++)
  await new Promise<void>((resolve) => server.listen(0, address, resolve))
  ends.push(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  const { port } = server.address() as AddressInfo
  return { port, seen, url: `https://client.example:${port}/client.json`, connections: () => connections }
}

/** With a resolver for whose answers this computer stands in. */
const guarded = (options: GuardedFetchOptions = {}) =>
  createGuardedFetch({
    loopback: true,
    resolve: async () => ['127.0.0.1'],
    authorities: certificates.authority,
    ...options,
  })

const json = (body: unknown): RequestListener => {
  return (_request, response) => void response.setHeader('Content-Type', 'application/json').end(JSON.stringify(body))
}

async function failure(promise: Promise<unknown>): Promise<[string, string]> {
  const error = await promise.then(
    () => new Error('it did not fail'),
    (error: unknown) => error,
  )
  if (!(error instanceof GuardedFetchError)) throw error
  return [error.kind, error.message]
}

test('brings a document: the name stays in the greeting, the Host header and the certificate’s check', async () => {
  const server = await serve((_request, response) => {
    response.setHeader('Set-Cookie', 'a=b').setHeader('ETag', '"1"').setHeader('Content-Type', 'application/json')
    response.end('{"a":1}')
  })
  const response = await guarded()(server.url, { 'If-None-Match': '"0"' })
  expect([response.status, await response.json(), response.headers.get('etag')]).toEqual([200, { a: 1 }, '"1"'])
  expect(response.headers.has('set-cookie')).toBe(false)
  const [seen] = server.seen
  expect([seen?.host, seen?.servername]).toEqual([`client.example:${server.port}`, 'client.example'])
  expect(seen?.headers).toMatchObject({ 'if-none-match': '"0"', 'accept-encoding': 'identity' })
  expect(Object.keys(seen?.headers ?? {})).not.toContain('cookie')
  expect(Object.keys(seen?.headers ?? {})).not.toContain('authorization')
})

test('a certificate of another authority, or for another name, is not taken, whatever the environment says', async () => {
  const server = await serve(json({}))
  const before = process.env.NODE_TLS_REJECT_UNAUTHORIZED
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
  try {
    const known = createGuardedFetch({ loopback: true, resolve: async () => ['127.0.0.1'] })
    expect((await failure(known(server.url)))[0]).toBe('unreachable')
    const other = server.url.replace('client.example', 'other.example')
    expect(await failure(guarded()(other))).toEqual(['unreachable', expect.stringContaining('ALTNAME')])
  } finally {
    if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED
    else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before
  }
  expect(server.seen).toEqual([])
})

describe('where it does not go', () => {
  test.each([
    'http://client.example/client.json',
    'ftp://client.example/client.json',
    'file:///etc/passwd',
    'data:application/json,{}',
    'client.example/client.json',
    'https://user@client.example/client.json',
    'https://user:password@client.example/client.json',
    'https://client.example:22/client.json',
    'https://client.example:80/client.json',
    'https://client.example:6379@127.0.0.1/client.json',
    '',
  ])('%j', async (url) => {
    let asked = 0
    const fetch = createGuardedFetch({ resolve: async () => [`1.1.1.${++asked}`] })
    expect((await failure(fetch(url)))[0]).toBe('refused')
    expect(asked).toBe(0)
  })

  test.each([
    ...['127.0.0.1', '127.1', '2130706433', '0x7f.1', '0177.0.0.1', '0', '10.0.0.1', '169.254.169.254', '192.168.1.1'],
    ...['[::1]', '[::]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[64:ff9b::7f00:1]', '[2002:7f00:1::]', '[fe80::1]'],
    ...['[fd00::1]', '[ff02::1]', '[2001:db8::1]', '127.0.0.1.', '①②⑦.0.0.1', '127。0。0。1'],
  ])('an address in the URL: %s', async (host) => {
    const { port, connections } = await serve(json({}))
    const fetch = createGuardedFetch({ resolve: async () => ['1.1.1.1'] })
    expect((await failure(fetch(`https://${host}:${port}/client.json`)))[0]).toBe('refused')
    expect(connections()).toBe(0)
  })

  test.each([
    [['127.0.0.1']],
    [['1.1.1.1', '127.0.0.1']],
    [['127.0.0.1', '1.1.1.1']],
    [['2606:4700::1', '::1']],
    [['1.1.1.1', '::ffff:127.0.0.1']],
    [['1.1.1.1', 'fe80::1']],
    [['1.1.1.1', 'not an address']],
  ])('a name with an address that is not public: %j', async (addresses) => {
    const { port, connections } = await serve(json({}))
    const fetch = createGuardedFetch({ resolve: async () => addresses, authorities: certificates.authority })
    expect((await failure(fetch(`https://client.example:${port}/client.json`)))[0]).toBe('refused')
    expect(connections()).toBe(0)
  })

  test('names of this computer, which no name server is asked about', async () => {
    const { port, connections } = await serve(json({}))
    const asked: string[] = []
    const fetch = createGuardedFetch({
      resolve: async (name) => {
        asked.push(name)
        return []
      },
    })
    for (const name of ['localhost', 'localhost.', 'a.localhost']) {
      expect(await failure(fetch(`https://${name}:${port}/`))).toEqual(['unreachable', 'the name has no address'])
    }
    expect([connections(), asked]).toEqual([0, ['localhost', 'localhost.', 'a.localhost']])
  })

  test('a name that leads elsewhere a moment later: it is asked once, and the connection goes where it was checked to go', async () => {
    const checked = await serve(json({ server: 'checked' }))
    const answers = [['127.0.0.1'], ['10.0.0.1']]
    let asked = 0
    const fetch = guarded({ resolve: async () => answers[asked++] ?? [] })
    expect(await (await fetch(checked.url)).json()).toEqual({ server: 'checked' })
    expect(asked).toBe(1)
    expect((await failure(fetch(checked.url)))[0]).toBe('refused')
    expect([asked, checked.connections()]).toEqual([2, 1])
  })
})

describe('what it does not take', () => {
  test.each([301, 302, 303, 307, 308])('a redirect, %i: the other address is never asked', async (status) => {
    const other = await serve(json({}))
    const { url } = await serve((_request, response) => void response.writeHead(status, { Location: other.url }).end())
    expect(await failure(guarded()(url))).toEqual(['refused', expect.stringContaining('redirect')])
    expect(other.connections()).toBe(0)
  })

  test.each([
    'text/html',
    'text/plain',
    'application/javascript',
    '',
    'application/jsonp',
    'text/json',
    'application/xml',
  ])('the content type %j', async (type) => {
    const { url } = await serve((_request, response) => {
      if (type !== '') response.setHeader('Content-Type', type)
      response.end('{}')
    })
    expect(await failure(guarded()(url))).toEqual(['refused', expect.stringContaining('content type')])
  })

  test.each([
    'application/json; charset=utf-8',
    'Application/JSON',
    'application/cimd+json',
    'application/jwk-set+json',
  ])('but %j', async (type) => {
    const { url } = await serve((_request, response) => void response.setHeader('Content-Type', type).end('{}'))
    expect((await guarded()(url)).status).toBe(200)
  })

  test('something packed: a small answer does not become a large one', async () => {
    const bomb = gzipSync(Buffer.alloc(50_000_000))
    for (const encoding of ['gzip', 'br', 'deflate', 'zstd', 'x-anything', 'gzip, gzip']) {
      const { url } = await serve((_request, response) => {
        response.setHeader('Content-Type', 'application/json').setHeader('Content-Encoding', encoding).end(bomb)
      })
      expect(await failure(guarded()(url))).toEqual(['refused', expect.stringContaining('packed')])
    }
  })

  test('too much, whether it was announced or not', async () => {
    let written = 0
    const { url } = await serve((request, response) => {
      response.setHeader('Content-Type', 'application/json')
      if (request.url === '/announced') return void response.setHeader('Content-Length', 40_000).end('x'.repeat(40_000))
      const more = () => {
        while (!response.destroyed && written < 100_000_000 && response.write('x'.repeat(16_384))) written += 16_384
      }
      response.on('drain', more)
      more()
    })
    const announced = new URL('/announced', url).href
    expect(await failure(guarded()(announced))).toEqual(['refused', expect.stringContaining('larger')])
    expect(await failure(guarded()(url))).toEqual(['refused', expect.stringContaining('larger')])
    expect(written).toBeLessThan(50_000_000)
  })

  test('a head that is too large', async () => {
    const { url } = await serve((_request, response) => {
      response.setHeader('Content-Type', 'application/json').setHeader('X-Large', 'x'.repeat(40_000)).end('{}')
    })
    expect((await failure(guarded()(url)))[0]).toBe('unreachable')
  })

  test('errors and “not modified” are answers', async () => {
    for (const status of [204, 304, 400, 404, 410, 429, 500, 503]) {
      const { url } = await serve((_request, response) => void response.writeHead(status).end())
      expect((await guarded()(url)).status).toBe(status)
    }
  })
})

describe('time', () => {
  const limits = { whole: 700, phase: 300 }
  /** The fastest of several: a busy machine may hold any of them up, and then also what comes before the step that is meant. */
  const timed = async (request: () => Promise<unknown>, expected: string) => {
    for (let attempt = 1; ; attempt++) {
      const started = performance.now()
      const failed = await failure(request())
      const inTime = performance.now() - started < 5_000
      if ((!inTime || failed[1] !== expected) && attempt < 10) continue
      expect(failed).toEqual(['unreachable', expected])
      expect(inTime).toBe(true)
      return
    }
  }

  test('a name server, a greeting, a head, a body that never come', async () => {
    const forever = guarded({ limits, resolve: () => new Promise(() => {}) })
    await timed(() => forever('https://client.example/client.json'), 'the name took too long')

    const silent = createSocketServer(() => {})
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const { port } = silent.address() as AddressInfo
    const greeting = `https://client.example:${port}/client.json`
    await timed(() => guarded({ limits })(greeting), 'the connection took too long')
    ends.push(() => silent.close())

    const headless = await serve(() => {})
    await timed(() => guarded({ limits })(headless.url), 'the answer took too long')

    const bodyless = await serve((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json' }).write('{')
    })
    await timed(() => guarded({ limits })(bodyless.url), 'the answer took too long')
  })

  test('a body that drips is bounded by the whole time', async () => {
    let open = 0
    const { url } = await serve((_request, response) => {
      open++
      response.writeHead(200, { 'Content-Type': 'application/json' })
      const timer = setInterval(() => response.write(' '), 50)
      response.on('close', () => {
        open--
        clearInterval(timer)
      })
    })
    await timed(() => guarded({ limits })(url), 'the request took too long')
    await expect.poll(() => open).toBe(0)
  })

  test('nobody listens, or hangs up', async () => {
    expect((await failure(guarded()('https://client.example:1/client.json')))[1]).toContain('ECONNREFUSED')
    const { url } = await serve((request) => void request.socket.destroy())
    expect((await failure(guarded()(url)))[0]).toBe('unreachable')
    const half = await serve((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': '100' }).write('{')
      setTimeout(() => response.destroy(), 50)
    })
    expect((await failure(guarded()(half.url)))[0]).toBe('unreachable')
  })
})

describe('budgets', () => {
  test('so many at once to one origin and in all; another origin has its own', async () => {
    const waiting: (() => void)[] = []
    const { port } = await serve((_request, response) => {
      waiting.push(() => response.setHeader('Content-Type', 'application/json').end('{}'))
    })
    const second = await serve(json({}))
    const fetch = guarded({ limits: { concurrency: 3, concurrencyPerOrigin: 2 } })
    const at = (path: string) => fetch(`https://client.example:${port}/${path}`)
    const running = [at('1'), at('2')]
    expect(await failure(at('3'))).toEqual(['unreachable', 'too many requests at once to this origin'])
    expect((await fetch(second.url)).status).toBe(200)
    const third = fetch(`https://localhost:${port}/`)
    expect(await failure(fetch(second.url))).toEqual(['unreachable', 'too many requests at once in all'])
    await expect.poll(() => waiting.length).toBe(3)
    for (const end of waiting) end()
    await Promise.all([...running, third])
    const again = at('4')
    await expect.poll(() => waiting.length).toBe(4)
    waiting[3]?.()
    expect((await again).status).toBe(200)
  })

  test('so many in a minute, failures too', async () => {
    let now = 0
    const limits = { perMinute: 5, perMinutePerOrigin: 2 }
    const fetch = guarded({ limits, clock: { now: () => now }, resolve: async () => [] })
    const ask = async (name: string) => (await failure(fetch(`https://${name}.example/`)))[1]
    expect([await ask('a'), await ask('a')]).toEqual(['the name has no address', 'the name has no address'])
    expect(await ask('a')).toBe('too many requests in a minute to this origin')
    for (const name of ['b', 'c', 'd']) expect(await ask(name)).toBe('the name has no address')
    expect(await ask('e')).toBe('too many requests in a minute in all')
    now += 60_000
    expect(await ask('a')).toBe('the name has no address')
  })
})

describe('for development', () => {
  test('this computer may be asked, by http too; and still nothing else that is not public', async () => {
    const server = createPlainServer(json({ plain: true }))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    ends.push(() => server.close())
    const { port } = server.address() as AddressInfo
    const fetch = createGuardedFetch({ loopback: true, resolve: async () => ['192.168.1.1'] })
    for (const host of ['127.0.0.1', 'localhost']) {
      expect(await (await fetch(`http://${host}:${port}/client.json`)).json()).toEqual({ plain: true })
    }
    expect((await failure(fetch('https://client.example/')))[0]).toBe('refused')
    expect((await failure(fetch('http://0.0.0.0/')))[0]).toBe('refused')
    const without = createGuardedFetch({ resolve: async () => ['127.0.0.1'] })
    expect((await failure(without(`http://127.0.0.1:${port}/client.json`)))[0]).toBe('refused')
  })
})
