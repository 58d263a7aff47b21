import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { node24 } from './node24.ts'
import { npmTool } from './npm-tool.ts'
import { startProcess } from './process.ts'

export interface EmulatedService {
  readonly service: 'github' | 'google' | 'microsoft' | 'okta' | 'apple'
  /** What it says its address is: the real provider's. */
  readonly baseUrl: string
  /** Other addresses that lead to it, such as that of an API. */
  readonly also?: readonly string[]
  readonly seed: object
}

/** A fetch that finds what stands at one address at another. Longer prefixes come first. */
export const redirected = (addresses: Readonly<Record<string, string>>): typeof fetch => {
  const prefixes = Object.entries(addresses).sort(([a], [b]) => b.length - a.length)
  return (input, init) => {
    const url = input instanceof Request ? input.url : String(input)
    const found = prefixes.find(([prefix]) => url.startsWith(prefix))
    return fetch(found ? found[1] + url.slice(found[0].length) : url, init)
  }
}

/** Starts emulators that say they are the real providers; `fetch` finds them there. */
export const startEmulators = async (services: readonly EmulatedService[]) => {
  const folder = join(await npmTool('emulate', '0.12.2'), 'emulate')
  const script = fileURLToPath(new URL('emulate-process.mjs', import.meta.url))
  const child = startProcess(await node24(), [script], { env: { EMULATE: JSON.stringify({ folder, services }) } })
  await child.line(/^ready$/, 120_000)
  const addresses: Record<string, string> = {}
  for (const { service, baseUrl, also = [] } of services) {
    const [, port] = await child.line(new RegExp(`^listening ${service} (\\d+)$`))
    for (const address of [baseUrl, ...also]) addresses[address] = `http://127.0.0.1:${port}`
  }
  const emulated = redirected(addresses)
  return {
    fetch: emulated,
    /** Picks a person on the provider's page, and answers where the browser is sent then: the callback. */
    async pick(authorizationUrl: string, person: string): Promise<URL> {
      const page = await (await emulated(authorizationUrl)).text()
      const form = page.split(/(?=<form)/).find((part) => part.startsWith('<form') && part.includes(`>${person}<`))
      if (form === undefined) throw new Error(`${person} is not on the page: ${page.slice(-2000)}`)
      const body = new URLSearchParams()
      for (const [tag] of form
        .split('</form>', 1)
        .join('')
        .matchAll(/<(?:input|button)[^>]*>/g)) {
        const [, name] = /\bname="([^"]*)"/.exec(tag) ?? []
        if (name !== undefined) body.append(name, unescaped(/\bvalue="([^"]*)"/.exec(tag)?.[1] ?? ''))
      }
      const action = new URL(unescaped(/\baction="([^"]*)"/.exec(form)?.[1] ?? ''), authorizationUrl)
      const answer = await emulated(action.href, { method: 'POST', body, redirect: 'manual' })
      return new URL(answer.headers.get('location') ?? `no redirect: ${answer.status}`)
    },
    stop: () => child.stop(),
  }
}

const unescaped = (text: string): string =>
  text.replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&lt;', '<').replaceAll('&amp;', '&')
