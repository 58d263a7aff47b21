/** @see RFC 8693 §2.1 */
export const tokenExchangeGrantType = 'urn:ietf:params:oauth:grant-type:token-exchange'

/** An access token of this server: what is exchanged, who acts, and what comes of it. @see RFC 8693 §3 */
export const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token'
