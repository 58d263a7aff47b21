import type { AccessToken } from './access-token.ts'
import type { Actor } from './actor.ts'

/** Who a request is from, as a key: what sessions, `requestState`, limits and audit are bound to. */
export interface Principal {
  /** Equal exactly for equal kind, issuer, subject, client and actor chain; unambiguous for any strings in them. */
  readonly key: string
  readonly kind: AccessToken<unknown>['kind']
  readonly issuer: string
  readonly subject: string
  readonly clientId: string
  readonly actor?: Actor
}

export const principal = (token: AccessToken<unknown>): Principal => ({
  key: JSON.stringify([token.kind, token.issuer, token.subject, token.clientId, ...chain(token.actor)]),
  kind: token.kind,
  issuer: token.issuer,
  subject: token.subject,
  clientId: token.clientId,
  ...(token.actor ? { actor: token.actor } : {}),
})

const chain = (actor: Actor | undefined): string[][] =>
  actor
    ? [
        actor.clientId === undefined ? [actor.issuer, actor.subject] : [actor.issuer, actor.subject, actor.clientId],
        ...chain(actor.actor),
      ]
    : []
