/** An S256 challenge: 32 bytes in base64url, in the one form that these have. @see RFC 7636 §4.2 */
export const isCodeChallenge = (text: string): boolean => /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/.test(text)

/** @see RFC 7636 §4.1 */
export const isCodeVerifier = (text: string): boolean => /^[A-Za-z0-9\-._~]{43,128}$/.test(text)

/**
 * Whether the verifier belongs to the challenge, by `S256`, the only method here.
 * @param s256 the SHA-256 of an ASCII text, in base64url; a synchronous one, because a hop through the event loop costs more than the digest
 * @see RFC 7636 §4.6
 */
export const verifyS256 = (verifier: string, challenge: string, s256: (text: string) => string): boolean => {
  if (!isCodeVerifier(verifier) || !isCodeChallenge(challenge)) return false
  return equalInConstantTime(s256(verifier), challenge)
}

const equalInConstantTime = (a: string, b: string): boolean => {
  let difference = a.length ^ b.length
  for (let index = 0; index < b.length; index++) difference |= a.charCodeAt(index) ^ b.charCodeAt(index)
  return difference === 0
}
