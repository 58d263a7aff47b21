/**
 * The text of an `Mcp-Name` header: as it is, or in the form `=?base64?…?=` where it holds more than a header may.
 * Undefined where that form is broken.
 * @see MCP 2026-07-28, Streamable HTTP, standard request headers
 */
export const decodeHeaderValue = (value: string): string | undefined => {
  if (!value.startsWith(prefix) || !value.endsWith(suffix)) return value
  const payload = value.slice(prefix.length, -suffix.length)
  if (!canonicalBase64.test(payload)) return undefined
  try {
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0))
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}

const prefix = '=?base64?'
const suffix = '?='
const canonicalBase64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
