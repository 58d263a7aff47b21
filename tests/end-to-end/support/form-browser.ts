/** A browser without script, styles or a screen: it follows redirects, keeps cookies and submits forms, as the pages promise to need no more. */
export interface FormBrowser {
  /** Opens a page, and follows redirects until there is one, or until one leads away (see `FormBrowserOptions.away`). */
  open(url: string | URL): Promise<Page>
  /** Submits a form as a click on one of its buttons does. A field is left out with `undefined`, and given several times with a list. */
  submit(page: Page, form: Form, changes?: FormChanges): Promise<Page>
  /** Names of the cookies that it would send there. */
  cookies(url: string | URL): readonly string[]
}

export interface FormBrowserOptions {
  /** Redirects that are not followed: `page.url` is then their target, and `page.away` is set. */
  away?: (url: URL) => boolean
  /** Default: the network. */
  send?: (request: Request) => Promise<Response>
}

export interface FormChanges {
  readonly fields?: Readonly<Record<string, string | readonly string[] | undefined>>
  /** The button that is clicked, by name and value. */
  readonly button?: readonly [name: string, value: string]
}

export interface Page {
  readonly url: URL
  readonly status: number
  readonly headers: Headers
  readonly html: string
  /** The words of the page, without its markup. */
  readonly text: string
  readonly forms: readonly Form[]
  readonly away: boolean
}

export interface Form {
  readonly action: string
  readonly method: string
  readonly fields: readonly Field[]
}

export interface Field {
  readonly tag: 'input' | 'button'
  readonly type: string
  readonly name: string
  readonly value: string
  readonly checked: boolean
  /** The id of the form that it belongs to, where it stands outside. */
  readonly form: string | undefined
}

interface Cookie {
  readonly name: string
  readonly value: string
  readonly host: string
  readonly path: string
  readonly expires: number
}

const MAX_REDIRECTS = 20

export function createFormBrowser(options: FormBrowserOptions = {}): FormBrowser {
  const send = options.send ?? fetch
  const jar = new Map<string, Cookie>()

  // As in real browsers, a cookie belongs to a host, whatever its port.
  const cookiesFor = (url: URL) =>
    [...jar.values()].filter(
      (cookie) => cookie.host === url.hostname && url.pathname.startsWith(cookie.path) && cookie.expires > Date.now(),
    )

  async function go(first: Request, from: string | undefined): Promise<Page> {
    let request = first
    let site = from === undefined ? 'none' : from === new URL(first.url).origin ? 'same-origin' : 'cross-site'
    for (let hop = 0; hop < MAX_REDIRECTS; hop++) {
      const url = new URL(request.url)
      const cookies = cookiesFor(url)
      if (cookies.length > 0)
        request.headers.set('cookie', cookies.map((each) => `${each.name}=${each.value}`).join('; '))
      request.headers.set('sec-fetch-site', site)
      request.headers.set('sec-fetch-mode', 'navigate')
      request.headers.set('sec-fetch-dest', 'document')
      const response = await send(request)
      for (const line of response.headers.getSetCookie()) keep(line, url)
      const location = response.headers.get('location')
      if (response.status < 300 || response.status > 399 || location === null) return readPage(url, response)
      await response.body?.cancel()
      const target = new URL(location, url)
      if (options.away?.(target)) return awayPage(target, response)
      if (target.origin !== url.origin) site = 'cross-site'
      request = new Request(target, { redirect: 'manual', headers: { accept: 'text/html' } })
    }
    throw new Error(`more than ${MAX_REDIRECTS} redirects from ${first.url}`)
  }

  function keep(line: string, url: URL): void {
    const [pair = '', ...attributes] = line.split(';').map((part) => part.trim())
    const name = pair.slice(0, pair.indexOf('='))
    const attribute = (wanted: string) =>
      attributes.find((each) => each.toLowerCase().startsWith(`${wanted}=`))?.slice(wanted.length + 1)
    const maxAge = attribute('max-age')
    const until = attribute('expires')
    const expires =
      maxAge !== undefined ? Date.now() + Number(maxAge) * 1000 : until !== undefined ? Date.parse(until) : Infinity
    const path = attribute('path') ?? '/'
    jar.set(JSON.stringify([name, url.hostname, path]), {
      name,
      value: pair.slice(pair.indexOf('=') + 1),
      host: url.hostname,
      path,
      expires,
    })
  }

  return {
    open: (url) => go(new Request(url, { redirect: 'manual', headers: { accept: 'text/html' } }), undefined),
    submit(page, form, changes = {}) {
      const body = new URLSearchParams(entries(form, changes))
      const target = new URL(form.action, page.url)
      const origin = page.url.origin
      const headers = { accept: 'text/html', origin }
      if (form.method === 'get') {
        target.search = body.toString()
        return go(new Request(target, { redirect: 'manual', headers }), origin)
      }
      return go(new Request(target, { method: 'POST', body, redirect: 'manual', headers }), origin)
    },
    cookies: (url) => cookiesFor(new URL(url)).map((each) => each.name),
  }
}

function entries(form: Form, { fields = {}, button }: FormChanges): [string, string][] {
  const own = form.fields.filter((field) => {
    if (field.name === '' || field.name in fields || field.tag === 'button' || field.type === 'submit') return false
    return (field.type !== 'checkbox' && field.type !== 'radio') || field.checked
  })
  const changed = Object.entries(fields).flatMap(([name, value]) =>
    value === undefined ? [] : [value].flat().map((each): [string, string] => [name, each]),
  )
  const list = [...own.map((field): [string, string] => [field.name, field.value]), ...changed]
  if (button !== undefined) list.push([...button])
  return list
}

async function readPage(url: URL, response: Response): Promise<Page> {
  const html = await response.text()
  const forms = [...html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)].map(
    ([form, attributes = '', inside = '']): Form => {
      const { action, method, id } = readAttributes(attributes)
      const outside = html.replace(form, '')
      return {
        action: action ?? url.href,
        method: (method ?? 'get').toLowerCase(),
        fields: [
          ...readFields(inside),
          ...readFields(outside).filter((field) => id !== undefined && field.form === id),
        ],
      }
    },
  )
  return { url, status: response.status, headers: response.headers, html, text: words(html), forms, away: false }
}

function awayPage(url: URL, response: Response): Page {
  return { url, status: response.status, headers: response.headers, html: '', text: '', forms: [], away: true }
}

function readFields(html: string): Field[] {
  return [...html.matchAll(/<(input|button)\b([^>]*)>/gi)].map(([, tag = '', attributes = '']): Field => {
    const { type, name = '', value, checked, form } = readAttributes(attributes)
    const isButton = tag.toLowerCase() === 'button'
    const kind = (type ?? (isButton ? 'submit' : 'text')).toLowerCase()
    return {
      tag: isButton ? 'button' : 'input',
      type: kind,
      name,
      value: value ?? (kind === 'checkbox' ? 'on' : ''),
      checked: checked !== undefined,
      form,
    }
  })
}

function readAttributes(text: string): Partial<Record<string, string>> {
  const found = text.matchAll(/([^\s=/"']+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?/g)
  return Object.fromEntries([...found].map(([, name = '', a, b, c]) => [name.toLowerCase(), decode(a ?? b ?? c ?? '')]))
}

const words = (html: string) =>
  decode(html.replace(/<(style|script|title)\b[\s\S]*?<\/\1>/gi, ' ').replace(/<[^>]*>/g, ' '))
    .replace(/\s+/g, ' ')
    .trim()

const NAMED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' }

const decode = (text: string) =>
  text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex?: string, decimal?: string, name?: string) => {
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16))
    if (decimal !== undefined) return String.fromCodePoint(Number.parseInt(decimal, 10))
    return NAMED[name ?? ''] ?? whole
  })
