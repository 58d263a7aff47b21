/** What a token of the provider's, made in exchange for the person's, is to be for. */
export interface UpstreamTarget {
  /** The service at the provider, by the name that it has there. */
  readonly audience?: string
  /** Its URL, where the provider wants that. @see RFC 8707 */
  readonly resource?: string
  readonly scopes?: readonly string[]
  /** `id_jag`: an assertion with which another authorization server (the audience) makes a token for this person. Default: an access token. */
  readonly kind?: 'access_token' | 'id_jag'
}
