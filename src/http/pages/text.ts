/**
 * Foreign text (a client's name, a person's claims) as it may stand in a page: one line, of bounded length, without anything that is invisible,
 * changes the direction of what stands around it, or piles up on a letter. Escaping is done by the template, isolation by `<bdi>`.
 */
export const foreign = (text: string, longest = 80): string => {
  const clean = text
    .slice(0, 4096)
    .replace(/[\p{Z}\p{Cc}]/gu, ' ')
    // Joiners stay: scripts and emoji need them. Tags, variation selectors for ideographs, and all else invisible go.
    .replace(/(?!\u200c|\u200d|\ufe0f)[\p{C}\p{Default_Ignorable_Code_Point}]/gu, '')
    // Only now: what stood apart may stand together.
    .normalize('NFC')
    .replace(/ +/g, ' ')
    .replace(/([\p{M}\u200c\u200d]{4})[\p{M}\u200c\u200d]+/gu, '$1')
    .trim()
  let kept = ''
  let letters = 0
  for (const { segment } of segmenter.segment(clean)) {
    // A single letter may be made of many characters.
    if (++letters > longest || kept.length + segment.length > longest * 4) return `${kept.slice(0, -lastLength(kept))}…`
    kept += segment
  }
  return kept
}

const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' })

/** Of the last letter, whose place the ellipsis takes. */
const lastLength = (text: string): number => [...segmenter.segment(text)].at(-1)?.segment.length ?? 0
