import type { Json } from '../identity/json.ts'

/**
 * JSON whose integers stay what they were: those beyond 2^53 become strings of their digits. Read as numbers, two people's ids could be the
 * same.
 *
 * @throws SyntaxError
 */
export const parseExactly = (text: string): Json => {
  const read: Json = JSON.parse(text)
  // What has no long row of digits can't have lost any.
  if (!/\d{16}/.test(text)) return read
  // The text is known to be valid, so a string or a number is one wherever it begins like one.
  return JSON.parse(text.replaceAll(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, exact))
}

const exact = (token: string): string =>
  /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token)) ? `"${token}"` : token
