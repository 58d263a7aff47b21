/** Why a guarded fetch brought nothing. What it says is for the operator: told to who named the URL, it would map our network. */
export class GuardedFetchError extends Error {
  override readonly name = 'GuardedFetchError'
  /**
   * `refused`: what is there must not be asked, or answered with something that is not taken. `unreachable`: nothing (whole) came in time, or
   * too much was asked of late; it may be otherwise later.
   */
  readonly kind: 'refused' | 'unreachable'

  constructor(kind: 'refused' | 'unreachable', reason: string, options?: ErrorOptions) {
    super(reason, options)
    this.kind = kind
  }
}
