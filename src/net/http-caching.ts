/**
 * How long an answer may be used without asking again, in milliseconds, as a cache that many share reads it; undefined where the answer does
 * not say.
 * @param now milliseconds since the epoch; of use only where the answer has no date
 * @see RFC 9111 §4.2
 */
export const freshnessOf = (headers: Headers, now: number): number | undefined => {
  const directives = new Map(
    (headers.get('cache-control') ?? '').split(',').map((directive): [string, string] => {
      const [name = '', value = ''] = directive.split('=')
      return [name.trim().toLowerCase(), value.trim().replace(/^"(.*)"$/, '$1')]
    }),
  )
  if (['no-store', 'no-cache', 'private'].some((name) => directives.has(name))) return 0
  const seconds = directives.get('s-maxage') ?? directives.get('max-age')
  const life = seconds === undefined ? untilExpiry(headers, now) : (wholeSeconds(seconds) ?? 0) * 1000
  if (life === undefined) return undefined
  return Math.max(0, life - (wholeSeconds(headers.get('age') ?? '') ?? 0) * 1000)
}

const untilExpiry = (headers: Headers, now: number): number | undefined => {
  const expires = headers.get('expires')
  if (expires === null) return undefined
  const date = Date.parse(headers.get('date') ?? '')
  const left = Date.parse(expires) - (Number.isNaN(date) ? now : date)
  // What can't be read has expired.
  return Number.isNaN(left) ? 0 : left
}

const wholeSeconds = (text: string): number | undefined => (/^\d{1,10}$/.test(text) ? Number(text) : undefined)
