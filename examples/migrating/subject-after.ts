import { requireUser } from 'countersign'

/** What was kept by the subject alone, of the one issuer that there was. */
export interface Kept {
  readonly notes: Map<string, string[]>
  readonly formerIssuer: string
}

/** A subject is unique only within its issuer: both are the key. The client is a fact of its own, and belongs in no key of a person's data. */
const owner = (): string => {
  const { issuer, subject } = requireUser()
  return JSON.stringify([issuer, subject])
}

/** Data is moved when its owner comes: only the issuer that the old key stood for may claim it. */
export const notesOf = ({ notes, formerIssuer }: Kept): string[] => {
  const { issuer, subject } = requireUser()
  const former = issuer === formerIssuer ? notes.get(subject) : undefined
  if (former && !notes.has(owner())) {
    notes.set(owner(), former)
    notes.delete(subject)
  }
  return notes.get(owner()) ?? []
}
