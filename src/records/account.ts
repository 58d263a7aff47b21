import { hashStrings } from '../crypto/hash.ts'
import { recordType, refTo } from './records.ts'
import type { Statement } from './upstream-session.ts'

/** A person, or a user of the host's. Home of the stable subject. */
export interface Account {
  readonly id: string
  /** `sub` in our tokens. Random, or the provider's own where the server is configured so. Never changes. */
  readonly subject: string
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  readonly identities: readonly Identity[]
  /** The person signed out everywhere: who signed in before is signed in no more. Milliseconds since the epoch. */
  readonly signedOutAt?: number
  /** It is being deleted, with all that hangs on it: nothing new is hung on it. Milliseconds since the epoch. */
  readonly deletedAt?: number
}

/** Who a person is at a provider. */
export interface Identity {
  readonly provider: string
  readonly issuer: string
  readonly subject: string
}

/** What the subjects in this store are. Fixed as soon as there is an account. */
export interface SubjectMode {
  readonly mode: 'random' | 'upstream'
  /** For `upstream`: whose subjects they are. */
  readonly provider?: string
  /** For `upstream`: the only issuer, from the first account on; a provider's subjects are unique only within it. */
  readonly issuer?: string
  /** An account exists, or did. */
  readonly used: boolean
}

export const accounts = recordType<Account>({ name: 'account', schema: 1, sealed: false })
const identities = recordType<{ readonly account: string }>({ name: 'identity', schema: 1, sealed: false })
const subjectModes = recordType<SubjectMode>({ name: 'subject-mode', schema: 1, sealed: false })

export const accountRef = (id: string) => refTo(accounts, id)

/** In place of an account's id: who this was has been deleted, and a sign-in that is under way makes nobody new of them. */
export const deletedAccount = ''

/** The account of (provider issuer, provider subject). */
export const identityRef = (issuer: string, subject: string) => refTo(identities, hashStrings(issuer, subject))

/** What a provider said of a person in an answer that brought it once only. Written and deleted with the identity. */
const identityAnswers = recordType<Statement>({ name: 'identity-answer', schema: 1, sealed: true })

export const identityAnswerRef = (issuer: string, subject: string) =>
  refTo(identityAnswers, hashStrings(issuer, subject))

/** The accounts that signed in at a provider with a verified e-mail address, and have had no other since. */
export const accountEmails = recordType<{ readonly accounts: readonly string[] }>({
  name: 'account-email',
  schema: 1,
  sealed: false,
})
/** Of an account: the address by which it was last known, hashed. */
const emailOfAccounts = recordType<{ readonly email: string }>({ name: 'email-of-account', schema: 1, sealed: false })

export const accountEmailRef = (hashed: string) => refTo(accountEmails, hashed)

export const emailOfAccountRef = (account: string) => refTo(emailOfAccounts, account)

/** What subjects this store was begun with: changing it would change every person's identity. */
export const subjectModeRef = refTo(subjectModes, 'current')
