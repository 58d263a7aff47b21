import { identityAnswerRef, identityRef } from '../records/account.ts'
import { type Put, put, type Records } from '../records/records.ts'
import type { Statement } from '../records/upstream-session.ts'
import type { SignIn } from './provider.ts'

// Some providers say something (a name) at a person's first sign-in alone, in the answer that the browser brings. It is kept with the identity, and
// goes when that goes.

const answerOf = ({ said }: Pick<SignIn, 'said'>): Statement | undefined =>
  said.find(({ source }) => source === 'answer')

const saysSomething = (answer: Statement | undefined): answer is Statement =>
  answer !== undefined && Object.keys(answer.claims).length > 0

/** A sign-in with what was said at an earlier one of this person, where its own answer says nothing. @throws StoreUnavailable */
export const withEarlierAnswer = async (records: Records, signIn: SignIn): Promise<SignIn> => {
  const own = answerOf(signIn)
  if (!own || saysSomething(own)) return signIn
  const [kept] = (await records.get(identityAnswerRef(signIn.issuer, signIn.subject))).values
  if (!kept) return signIn
  return { ...signIn, said: signIn.said.map((each) => (each === own ? kept.value : each)) }
}

/** What is to be written with a new identity. */
export const answerToKeep = (signIn: SignIn): readonly Put[] => {
  const answer = answerOf(signIn)
  return saysSomething(answer) ? [put(identityAnswerRef(signIn.issuer, signIn.subject), answer)] : []
}

/** Keeps what a known person's provider said anew. Nothing where the identity is not this account's any more. @throws StoreUnavailable */
export const keepAnswer = async (records: Records, account: string, signIn: SignIn): Promise<void> => {
  const answer = answerOf(signIn)
  if (!saysSomething(answer)) return
  const { issuer, subject } = signIn
  const ref = identityAnswerRef(issuer, subject)
  for (;;) {
    const [identity, kept] = (await records.get(identityRef(issuer, subject), ref)).values
    if (identity?.value.account !== account) return
    if (kept && JSON.stringify(kept.value.claims) === JSON.stringify(answer.claims)) return
    const { committed } = await records.commit({ unchanged: [identity, kept ?? ref], puts: [put(ref, answer)] })
    if (committed) return
  }
}
