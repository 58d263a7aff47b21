/** What answers requests: the routes of a server, or `fetch`. */
export type Site = (request: Request) => Promise<Response | undefined>

export interface Cookie {
  readonly name: string
  readonly value: string
  readonly attributes: ReadonlyMap<string, string>
}

export interface Field {
  readonly name: string
  readonly value: string
  readonly type: string
  readonly checked: boolean
}

export interface PageForm {
  readonly action: string
  readonly method: string
  readonly fields: readonly Field[]
  readonly buttons: readonly { readonly name: string; readonly value: string; readonly text: string }[]
}

/** A page as a browser without script sees it, or the redirect that left the site. */
export interface Visit {
  readonly url: string
  readonly status: number
  readonly headers: Headers
  readonly html: string
  /** The text that people read. */
  readonly text: string
  readonly forms: readonly PageForm[]
  /** Where a redirect leads that is not the site's own. */
  readonly left?: URL
}

export interface BrowserOptions {
  /** Sent with every request. */
  readonly headers?: Readonly<Record<string, string>>
}

/** A small browser: cookies, redirects, forms with the headers that browsers send. It knows one site. */
export class TestBrowser {
  readonly cookies = new Map<string, Cookie>()
  readonly #site: Site
  readonly #origin: string
  readonly #options: BrowserOptions

  constructor(site: Site, origin: string, options: BrowserOptions = {}) {
    this.#site = site
    this.#origin = origin
    this.#options = options
  }

  /** Follows a link from elsewhere. */
  open(url: string, headers: Record<string, string> = {}): Promise<Visit> {
    return this.#go(url, { headers: { 'Sec-Fetch-Site': 'cross-site', ...headers } })
  }

  /** Submits a page's form with one of its buttons, as a person does. `fields` are typed in; `ticked` says which boxes stay ticked. */
  submit(
    page: Visit,
    button: string | undefined,
    fields: Record<string, string> = {},
    ticked?: readonly string[],
  ): Promise<Visit> {
    return this.post(page.url, ...this.filled(page, button, fields, ticked))
  }

  /** What would be sent. */
  filled(
    page: Visit,
    button: string | undefined,
    fields: Record<string, string> = {},
    ticked?: readonly string[],
  ): [action: string, body: URLSearchParams] {
    const form = page.forms.find(({ buttons }) => button === undefined || buttons.some(({ value }) => value === button))
    if (!form) throw new Error(`no form with ${button} on ${page.url}: ${page.text}`)
    const body = new URLSearchParams()
    for (const { name, value, type, checked } of form.fields) {
      const on = ticked === undefined ? checked : ticked.includes(value)
      if (type !== 'checkbox') body.append(name, fields[name] ?? value)
      else if (on) body.append(name, value)
    }
    const pressed = form.buttons.find(({ value }) => value === button)
    if (pressed?.name) body.append(pressed.name, pressed.value)
    return [form.action, body]
  }

  /** Posts a form from a page of `from`. */
  post(from: string, action: string, body: URLSearchParams, headers: Record<string, string> = {}): Promise<Visit> {
    const same = new URL(from).origin === new URL(action).origin
    return this.#go(action, {
      method: 'POST',
      body,
      headers: { 'Sec-Fetch-Site': same ? 'same-origin' : 'cross-site', Origin: new URL(from).origin, ...headers },
    })
  }

  /** The same browser as another window sees it: the same cookies. */
  get cookieHeader(): string {
    return [...this.cookies.values()].map(({ name, value }) => `${name}=${value}`).join('; ')
  }

  async #go(url: string, init: RequestInit): Promise<Visit> {
    let next = new Request(url, { ...init, redirect: 'manual' })
    for (let hop = 0; hop < 20; hop++) {
      for (const [name, value] of Object.entries(this.#options.headers ?? {})) next.headers.set(name, value)
      if (this.cookies.size > 0 && !next.headers.has('cookie')) next.headers.set('cookie', this.cookieHeader)
      const response = await this.#site(next)
      if (!response) throw new Error(`nothing at ${next.url}`)
      for (const line of response.headers.getSetCookie()) this.#keep(line)
      const location = response.headers.get('location')
      if (location === null || response.status < 300 || response.status > 399) return visitOf(next.url, response)
      const to = new URL(location, next.url)
      if (to.origin !== this.#origin) return { ...(await visitOf(next.url, response)), left: to }
      next = new Request(to, { headers: { 'Sec-Fetch-Site': 'same-origin' }, redirect: 'manual' })
    }
    throw new Error('too many redirects')
  }

  #keep(line: string): void {
    const [pair = '', ...rest] = line.split(';').map((part) => part.trim())
    const [name = '', ...value] = pair.split('=')
    const attributes = new Map(rest.map((part) => [part.split('=')[0]?.toLowerCase() ?? '', part.split('=')[1] ?? '']))
    if (attributes.get('max-age') === '0') this.cookies.delete(name)
    else this.cookies.set(name, { name, value: value.join('='), attributes })
  }
}

const visitOf = async (url: string, response: Response): Promise<Visit> => {
  const html = await response.text()
  return {
    url,
    status: response.status,
    headers: response.headers,
    html,
    text: textOf(html),
    forms: formsOf(html, url),
  }
}

const textOf = (html: string): string =>
  decode(
    html
      .replace(/<style>.*?<\/style>/s, '')
      .replace(/<\/?(bdi|strong|span|time)\b[^>]*>/g, '')
      .replace(/<[^>]*>/g, ' ')
      .replace(/\s+/g, ' '),
  ).trim()

const formsOf = (html: string, url: string): PageForm[] =>
  [...html.matchAll(/<form\b([^>]*)>(.*?)<\/form>/gs)].map(([, head = '', body = '']) => {
    const own = attributesOf(head)
    const outside = [...html.matchAll(/<button\b([^>]*)>(.*?)<\/button>/gs)].filter(
      ([, attributes = '']) => own.id !== undefined && attributesOf(attributes).form === own.id,
    )
    const buttons = [...body.matchAll(/<button\b([^>]*)>(.*?)<\/button>/gs), ...outside]
    return {
      action: new URL(own.action ?? '', url).href,
      method: own.method ?? 'get',
      fields: [...body.matchAll(/<input\b([^>]*)>/g)].map(([, text = '']) => {
        const { name = '', value = '', type = 'text', checked } = attributesOf(text)
        return { name, value, type, checked: checked !== undefined }
      }),
      buttons: buttons.map(([, attributes = '', text = '']) => {
        const { name = '', value = '' } = attributesOf(attributes)
        return { name, value, text: textOf(text) }
      }),
    }
  })

const attributesOf = (text: string): Record<string, string> =>
  Object.fromEntries(
    [...text.matchAll(/([\w-]+)(?:="([^"]*)")?/g)].map(([, name = '', value = '']) => [name, decode(value)]),
  )

const decode = (text: string): string =>
  text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&amp;', '&')
