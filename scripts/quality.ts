/**
 * `docs/quality.md` has a part for each of its writers, under a heading of the first level: each writes its own and keeps the others'.
 * @param part begins with its heading
 */
export const withPart = (document: string, part: string): string => {
  const parts = new Map(partsOf(document).map((each) => [headingOf(each), each]))
  parts.set(headingOf(part), part)
  return `${[...parts.values()].map((each) => each.trim()).join('\n\n')}\n`
}

/** The part of the document that has this heading; empty where there is none. */
export const partOf = (document: string, heading: string): string =>
  partsOf(document).find((each) => headingOf(each) === heading) ?? ''

const partsOf = (document: string): string[] => document.split(/^(?=# )/m).filter((each) => each.trim() !== '')

const headingOf = (part: string): string => part.split('\n', 1)[0]?.trim() ?? ''
