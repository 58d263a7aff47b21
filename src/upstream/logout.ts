import { put, type Records, type Ref, type Stored } from '../records/records.ts'
import {
  type LogoutSubject,
  loggedInSessionsOf,
  logoutRef,
  logoutSubjects,
  type UpstreamSession,
  upstreamSessionRef,
} from '../records/upstream-session.ts'
import { type LogoutEnds, type LogoutToken, SignInRefused } from './provider.ts'
import { remaining } from './release.ts'

/**
 * What must stay as it is while a sign-in becomes a session: that nobody signed the person out since the id_token was made. A logout that comes
 * in between is then seen by one of the two.
 * @throws SignInRefused where that has happened
 */
export const notLoggedOut = async (
  records: Records,
  session: Pick<UpstreamSession, 'provider' | 'issuer' | 'said'>,
): Promise<(Stored<unknown> | Ref<unknown>)[]> => {
  const subjects = logoutSubjects(session)
  if (subjects.length === 0) return []
  const { values } = await records.get(...subjects.map(logoutRef))
  return subjects.map((subject, index) => {
    const logout = values[index]
    if (logout && isBefore(session, subject, logout.value.at)) {
      throw new SignInRefused('denied', { detail: 'the person signed out at the provider meanwhile' })
    }
    return logout ?? logoutRef(subject)
  })
}

type SignedIn = Pick<UpstreamSession, 'said'> & Partial<Pick<UpstreamSession, 'generation' | 'createdAt'>>

/** A session of the provider's never comes back; a person who signs in again does. */
const isBefore = (session: SignedIn, subject: LogoutSubject, at: number): boolean =>
  'sid' in subject || signedInAt(session) <= at

/** When the person signed in, seconds since the epoch: by the provider's clock, unless an id_token of a refresh took the place of the first. */
const signedInAt = ({ said, generation = 0, createdAt = 0 }: SignedIn): number => {
  const { iat } = said.find(({ source }) => source === 'id_token')?.claims ?? {}
  if (typeof iat !== 'number') return Number.NEGATIVE_INFINITY
  return generation > 0 ? Math.min(iat, Math.floor(createdAt / 1000)) : iat
}

// Longer than a sign-in may take from the provider's answer to our session.
const rememberedFor = 15 * 60_000

/**
 * Carries out a logout: nothing new is begun on the sessions that it names, and those of which clients' grants end too have ended.
 * Answers these; doing it again changes nothing.
 * @throws StoreUnavailable
 */
export const logOut = async (
  records: Records,
  lifetime: number,
  { id: provider, logoutEnds }: { readonly id: string; readonly logoutEnds?: LogoutEnds | undefined },
  { issuer, sid, sub, issuedAt }: LogoutToken,
): Promise<{ readonly sessions: number; readonly ended: readonly string[] }> => {
  const subject = sid === undefined ? { provider, issuer, sub: sub ?? '' } : { provider, issuer, sid }
  await remember(records, subject, issuedAt)
  const ended: string[] = []
  let sessions = 0
  for await (const id of sessionsOf(records, subject)) {
    const done = await logOutSession(records, lifetime, id, (session) => {
      const said = logoutSubjects(session)
      if (sub !== undefined && !said.some((each) => 'sub' in each && each.sub === sub)) return undefined
      if (!isBefore(session, subject, issuedAt)) return undefined
      const offline = session.tokens?.scope?.split(' ').includes('offline_access') ?? false
      return logoutEnds ?? (offline ? 'sessions' : 'grants')
    })
    if (done === undefined) continue
    sessions += 1
    if (done === 'grants') ended.push(id)
  }
  return { sessions, ended }
}

const remember = async (records: Records, subject: LogoutSubject, at: number): Promise<void> => {
  const ref = logoutRef(subject)
  for (;;) {
    const [before] = (await records.get(ref)).values
    const latest = Math.max(at, before?.value.at ?? 0)
    const written = await records.commit({
      unchanged: [before ?? ref],
      puts: [put(ref, { at: latest }, rememberedFor)],
    })
    if (written.committed) return
  }
}

const logOutSession = async (
  records: Records,
  lifetime: number,
  id: string,
  decide: (session: UpstreamSession) => LogoutEnds | undefined,
): Promise<LogoutEnds | undefined> => {
  for (;;) {
    const { values, now } = await records.get(upstreamSessionRef(id))
    const [stored] = values
    const ends = stored && decide(stored.value)
    if (!stored || !ends) return undefined
    const session: UpstreamSession = {
      ...stored.value,
      loggedOutAt: stored.value.loggedOutAt ?? now,
      ...(ends === 'grants' && stored.value.ended?.reason !== 'released'
        ? { ended: { at: now, reason: 'logged_out' } }
        : {}),
    }
    const written = await records.commit({
      unchanged: [stored],
      puts: [put(stored.ref, session, remaining({ lifetime }, session, now))],
    })
    if (written.committed) return ends
  }
}

const pageSize = 100

async function* sessionsOf(records: Records, subject: LogoutSubject): AsyncGenerator<string> {
  const { type, within } = loggedInSessionsOf(subject)
  for (let after: string | undefined; ; ) {
    const { values } = await records.list(type, within, { limit: pageSize, ...(after === undefined ? {} : { after }) })
    for (const { ref } of values) {
      after = ref.key.slice(ref.key.lastIndexOf('/') + 1)
      yield after
    }
    if (values.length < pageSize) return
  }
}
