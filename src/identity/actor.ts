import type { JsonObject } from './json.ts'

/**
 * Who acts for a subject. The outermost actor is the current one; `actor` inside it is who acted before.
 * @see RFC 8693 §4.1
 */
export interface Actor {
  readonly issuer: string
  readonly subject: string
  readonly clientId?: string
  readonly actor?: Actor
}

/**
 * Reads an `act` claim. `iss` may be absent in it; then the token's own issuer vouches for the actor.
 * Answers undefined where the value is no valid chain: a token with such a claim must be refused, not shown without its actor.
 */
export const readActor = (act: unknown, tokenIssuer: string, depth = 0): Actor | undefined => {
  if (depth > maximumChain || typeof act !== 'object' || act === null || Array.isArray(act)) return undefined
  const { sub, iss, client_id: clientId, act: before } = act as JsonObject
  if (typeof sub !== 'string' || sub === '') return undefined
  if (iss !== undefined && (typeof iss !== 'string' || iss === '')) return undefined
  if (clientId !== undefined && (typeof clientId !== 'string' || clientId === '')) return undefined
  const actor = before === undefined ? undefined : readActor(before, tokenIssuer, depth + 1)
  if (before !== undefined && actor === undefined) return undefined
  return {
    issuer: iss ?? tokenIssuer,
    subject: sub,
    ...(clientId === undefined ? {} : { clientId }),
    ...(actor === undefined ? {} : { actor }),
  }
}

/** The `act` claim that `readActor` reads. */
export const writeActor = ({ issuer, subject, clientId, actor }: Actor): JsonObject => ({
  iss: issuer,
  sub: subject,
  ...(clientId === undefined ? {} : { client_id: clientId }),
  ...(actor === undefined ? {} : { act: writeActor(actor) }),
})

const maximumChain = 16

export const sameActor = (a: Actor | undefined, b: Actor | undefined): boolean =>
  a === undefined || b === undefined
    ? a === b
    : a.issuer === b.issuer && a.subject === b.subject && a.clientId === b.clientId && sameActor(a.actor, b.actor)

/** All who act, the current one first. */
export const actorChain = (actor: Actor | undefined): readonly Omit<Actor, 'actor'>[] => {
  if (!actor) return []
  const { actor: before, ...current } = actor
  return [current, ...actorChain(before)]
}
