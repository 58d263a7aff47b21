/** A name or URI in which `*` (and, in a URI template, `{…}`) stands for characters. */
export interface Pattern {
  /** Its spellings, where nothing in it stands for others. */
  readonly exact: readonly string[]
  /** With one of these begins whatever it matches. */
  readonly prefixes: readonly string[]
  matches(text: string): boolean
  /** As `matches`, but for variables that may hold a `/`: for what was decoded. */
  matchesDecoded(text: string): boolean
}

type Piece = string | typeof anything | typeof segment
const anything = Symbol('anything')
const segment = Symbol('segment')

/** Longer names are nobody's; matching stays cheap for shorter ones. */
export const maximumName = 2048

export const namePattern = (text: string): Pattern => compile([piecesOf(text, /\*/g)])

/**
 * @param respell writes a URI another way, or answers undefined for what is no URI; the pattern matches all spellings of itself
 */
export const uriPattern = (text: string, respell: readonly ((uri: string) => string | undefined)[]): Pattern => {
  const pieces = piecesOf(text, uriWildcard)
  const spelled = pieces.map((piece) => (typeof piece === 'string' ? piece : placeholder)).join('')
  const others = respell.map((write) => write(spelled)).filter((each) => each !== undefined)
  const wildcards = pieces.filter((piece) => typeof piece !== 'string')
  const forms = others
    .map((other) => other.split(placeholder))
    // What lost a wildcard in rewriting would match something else.
    .filter((literals) => literals.length === wildcards.length + 1)
    .map((literals) =>
      literals.flatMap((literal, at): Piece[] => (at === 0 ? [literal] : [wildcards[at - 1] ?? '', literal])),
    )
  return compile(distinct([pieces, ...forms]))
}

/** A URI in its usual form has one spelling. */
const distinct = (forms: readonly (readonly Piece[])[]): readonly (readonly Piece[])[] => [
  ...new Map(forms.map((pieces) => [pieces.map(String).join('\n'), pieces])).values(),
]

const compile = (forms: readonly (readonly Piece[])[]): Pattern => {
  const exact = forms.every((pieces) => pieces.every((piece) => typeof piece === 'string'))
    ? forms.map((pieces) => pieces.join(''))
    : []
  const decoded = forms.map((pieces) => pieces.map((piece): Piece => (piece === segment ? anything : piece)))
  return {
    exact,
    prefixes: forms.map(([first]) => (typeof first === 'string' ? first : '')),
    matches: (text) => forms.some((pieces) => match(pieces, text)),
    matchesDecoded: (text) => decoded.some((pieces) => match(pieces, text)),
  }
}

/** Without backtracking: a name is chosen by whoever calls. */
const match = (pieces: readonly Piece[], text: string): boolean => {
  const [first] = pieces
  if (typeof first === 'string' && !text.startsWith(first)) return false
  if (pieces.length === 1) return text === first
  // Most patterns have one wildcard: then nothing has to be tried.
  const [, wildcard, last] = pieces
  if (pieces.length === 3 && typeof first === 'string' && typeof last === 'string') {
    if (text.length < first.length + last.length || !text.endsWith(last)) return false
    const end = text.length - last.length
    return wildcard === anything || !text.slice(first.length, end).includes('/')
  }
  // Where the text may be read on from after the pieces so far.
  let reached = new Uint8Array(text.length + 1)
  reached[0] = 1
  for (const piece of pieces) {
    const next = new Uint8Array(text.length + 1)
    let open = false
    for (let at = 0; at <= text.length; at += 1) {
      if (typeof piece === 'string') {
        if (reached[at] && text.startsWith(piece, at)) next[at + piece.length] = 1
        continue
      }
      if (reached[at]) open = true
      else if (piece === segment && text[at - 1] === '/') open = false
      if (open) next[at] = 1
    }
    reached = next
  }
  return reached[text.length] === 1
}

const piecesOf = (text: string, wildcard: RegExp): readonly Piece[] => {
  const pieces: Piece[] = []
  let from = 0
  for (const found of text.matchAll(wildcard)) {
    pieces.push(text.slice(from, found.index), found[1] === undefined || wide.test(found[1]) ? anything : segment)
    from = found.index + found[0].length
  }
  return [...pieces, text.slice(from)]
}

/** `*`, or an expression of a URI template. @see RFC 6570 §2.2 */
const uriWildcard = /\*|\{([^{}]*)\}/g
/** Expressions that may stand for more than a segment of a path. */
const wide = /^[+#./;?&]|[*,]/
/** Letters and digits, so that no rewriting of a URI changes it. */
const placeholder = 'wildcard0c7d1f'
