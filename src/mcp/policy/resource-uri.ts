import { maximumName } from './pattern.ts'

/** The ways to write a URI that something behind us may take for the same resource. */
export interface Spellings {
  /** As it came, and as a URL parser writes it: what the SDKs look up. */
  readonly written: readonly string[]
  /** Without escapes and dot segments, and without what a handler that looks only at host and path ignores. */
  readonly reduced: readonly string[]
}

/** Undefined for a URI that nobody has reason to write, so that it can't be told what it names. */
export const spellingsOf = (uri: string): Spellings | undefined => {
  if (uri.length > maximumName) return undefined
  const href = hrefOf(uri)
  const bare = bareOf(uri)
  const decoded = [uri, href, bare].map((each) => (each === undefined ? each : decodedOf(each)))
  if (decoded[0] === undefined) return undefined
  return { written: distinct([uri, href]), reduced: distinct([bare, ...decoded]) }
}

/**
 * Whether a URI has one spelling, as most have: of a scheme for which a URL parser has no rules of its own, with nothing in it that has a meaning
 * besides the names that are in it.
 */
export const isPlain = (uri: string): boolean => uri.length <= maximumName && plain.test(uri)

const plain = /^(?!(?:https?|wss?|ftp|file):)[a-z][a-z0-9+.-]*:\/\/\w[\w.-]*(?:\/[\w-][\w.~-]*)+$/

/** As a URL parser writes it: scheme in lower case, dot segments resolved. */
export const hrefOf = (uri: string): string | undefined => (URL.canParse(uri) ? new URL(uri).href : undefined)

/** Scheme, host and path alone. */
export const bareOf = (uri: string): string | undefined => {
  if (!URL.canParse(uri)) return undefined
  const url = new URL(uri)
  url.username = ''
  url.password = ''
  url.port = ''
  url.search = ''
  url.hash = ''
  return url.href.replace(/([^/:])\/$/, '$1')
}

/** Without percent-encoding, however often it was applied, and with the dot segments resolved that it hid. Undefined beyond reason. */
export const decodedOf = (uri: string): string | undefined => {
  let text = uri
  for (let round = 0; round < maximumRounds; round += 1) {
    const decoded = text.replace(/(?:%[0-9a-f]{2})+/gi, decodeRun)
    if (decoded === text) return resolveDots(text.replaceAll('\\', '/'))
    text = decoded
  }
  return undefined
}

/** A URI of a template, to ask about the template itself. @see RFC 6570 §3.2 */
export const sampleOf = (template: string): string =>
  template.replace(/\{([^{}]*)\}/g, (_, expression: string) => {
    if (/^[?&#]/.test(expression)) return ''
    return /^[./;]/.test(expression) ? `${expression.charAt(0)}~` : '~'
  })

const decodeRun = (run: string): string => {
  try {
    return decodeURIComponent(run)
  } catch {
    return run.replace(/%([0-7][0-9a-f])/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  }
}

const resolveDots = (uri: string): string => {
  const [, start = '', path = ''] = /^([a-z][a-z0-9+.-]*:(?:\/\/[^/?#]*)?)(.*)$/is.exec(uri) ?? []
  if (!/(?:^|\/)\.\.?(?:\/|$)/.test(path)) return uri
  const kept: string[] = []
  for (const part of path.split('/')) {
    if (part === '..') {
      if (kept.length > 1) kept.pop()
    } else if (part !== '.') kept.push(part)
  }
  return start + kept.join('/')
}

const distinct = (texts: readonly (string | undefined)[]): readonly string[] => [
  ...new Set(texts.filter((text) => text !== undefined)),
]

const maximumRounds = 4
