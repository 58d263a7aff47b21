/**
 * A value as a line of JSON that may be shown in a terminal. Some of it is strangers' words, and JSON leaves as they are the second set of control
 * characters, whose first can begin a command to the terminal, and what turns the direction of writing around or hides it.
 */
export const jsonLine = (value: object): string =>
  JSON.stringify(value).replace(/[\x7f-\x9f\u2028\u2029\p{Cf}]/gu, escaped)

const escaped = (character: string): string =>
  Array.from(
    { length: character.length },
    (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`,
  ).join('')
