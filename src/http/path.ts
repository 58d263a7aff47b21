/** Of a request's URL, which is in the form that the platform gives it. Without parsing: this runs before every request of an application. */
export const pathOf = (url: string): string => {
  const start = url.indexOf('/', url.indexOf('://') + 3)
  if (start < 0) return '/'
  for (let at = start; at < url.length; at++) {
    const character = url[at]
    if (character === '?' || character === '#') return url.slice(start, at)
  }
  return url.slice(start)
}
