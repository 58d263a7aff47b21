import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { canInstallPackages, installPackages } from './apt.ts'
import { CookieJar } from './oidc-provider.ts'
import { startProcess } from './process.ts'
import { type Unavailable, unavailable } from './unavailable.ts'

const run = promisify(execFile)
// The system's own, because that is where its packages are.
const python = '/usr/bin/python3'

const imports = () =>
  run(python, ['-c', 'import oauth2_provider, cryptography']).then(
    () => true,
    () => false,
  )

/** A provider that is not JavaScript: django-oauth-toolkit. On Debian, as root, it is installed where it is missing. */
export const findDjangoProvider = async (): Promise<{ readonly python: string } | Unavailable> => {
  if (await imports()) return { python }
  if (!canInstallPackages()) return unavailable('no django-oauth-toolkit here: install python3-django-oauth-toolkit')
  await installPackages('python3-django-oauth-toolkit', 'python3-cryptography')
  return (await imports()) ? { python } : unavailable('python3-django-oauth-toolkit brought none')
}

export interface DjangoProviderOptions {
  readonly redirectUri: string
  /** Seconds. */
  readonly accessTokenLifetime: number
  readonly people: Readonly<Record<string, { readonly password: string; readonly claims: object }>>
}

export const startDjangoProvider = async (options: DjangoProviderOptions) => {
  const credentials = { clientId: 'countersign', clientSecret: 'a-secret-of-the-app' }
  const script = fileURLToPath(new URL('django-provider-process.py', import.meta.url))
  const env = { DJANGO_PROVIDER: JSON.stringify({ ...credentials, ...options }) }
  const child = startProcess(python, [script], { env })
  const issuer = (await child.line(/^issuer (\S+)$/))[1] ?? ''

  /** Walks its pages, from an authorization request to the callback. */
  const signIn = async (url: string, username: string): Promise<string> => {
    const jar = new CookieJar()
    const { origin } = new URL(issuer)
    let next: { url: string; form?: URLSearchParams } = { url }
    for (let step = 0; step < 10; step++) {
      const response = await fetch(next.url, {
        redirect: 'manual',
        headers: { cookie: jar.header, referer: next.url },
        ...(next.form ? { method: 'POST', body: next.form } : {}),
      })
      jar.take(response)
      const location = response.headers.get('location')
      if (location !== null) {
        const target = new URL(location, next.url)
        if (target.origin !== origin) return target.href
        next = { url: target.href }
        continue
      }
      const text = await response.text()
      if (response.status !== 200 || !text.includes('<form'))
        throw new Error(`${response.status} at ${next.url}: ${text}`)
      const form = new URLSearchParams()
      for (const [tag] of text.matchAll(/<input[^>]*>/g)) {
        const name = /\bname="([^"]*)"/.exec(tag)?.[1]
        if (name !== undefined) form.append(name, unescaped(/\bvalue="([^"]*)"/.exec(tag)?.[1] ?? ''))
      }
      if (form.has('username')) {
        form.set('username', username)
        form.set('password', options.people[username]?.password ?? '')
      } else form.set('allow', 'Authorize')
      next = { url: next.url, form }
    }
    throw new Error('the provider’s pages lead nowhere')
  }
  return { issuer, ...credentials, signIn, stop: () => child.stop() }
}

const unescaped = (text: string): string =>
  text.replaceAll('&quot;', '"').replaceAll('&#x27;', "'").replaceAll('&lt;', '<').replaceAll('&amp;', '&')
