/**
 * Which of the two a client would rather have, by its `Accept` header: `offered` only where it is named and not refused, and where `usual` is not
 * liked better. A wildcard names nothing: who doesn't know of `offered` must not get it.
 * @see RFC 9110 §12.5.1
 */
export const prefers = (accept: string | null, offered: string, usual: string): boolean => {
  // Most don't name it, and none of the rest matters then.
  if (!accept?.toLowerCase().includes(offered)) return false
  const liking = new Map(
    accept
      .split(',', 64)
      .map((range) => range.split(';').map((part) => part.trim().toLowerCase()))
      .map(([type = '', ...parameters]) => [type, qualityOf(parameters)]),
  )
  const quality = liking.get(offered) ?? 0
  return quality > 0 && quality >= (liking.get(usual) ?? 0)
}

const qualityOf = (parameters: readonly string[]): number => {
  const quality = Number(parameters.find((each) => each.startsWith('q='))?.slice(2) ?? 1)
  return quality >= 0 && quality <= 1 ? quality : 0
}
