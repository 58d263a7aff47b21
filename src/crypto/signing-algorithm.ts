/** The algorithms that tokens are signed with. @see RFC 7518 §3.1, RFC 8037 §3.1 */
export type SigningAlgorithm = 'ES256' | 'EdDSA' | 'RS256'
