import { base64url } from '../crypto/bytes.ts'
import { type Account, accountRef } from '../records/account.ts'
import { type BrowserSession, browserSessionRef, sessionBrowserRef } from '../records/browser-session.ts'
import { put } from '../records/records.ts'
import type { UpstreamSession } from '../records/upstream-session.ts'
import { StoreUnavailable } from '../store/store.ts'
import { identifyAccount, type Somebody } from './account-label.ts'
import type { ServerContext } from './context.ts'
import { readCookies, setCookie } from './cookies.ts'

const name = 'session'

/** Who is signed in in this browser, where that still counts as a sign-in. */
export const readBrowserSession = async (server: ServerContext, request: Request): Promise<Somebody | undefined> => {
  const cookie = readCookies(server.issuer, request).get(name)
  if (!cookie) return undefined
  const session = (await server.records.get(browserSessionRef(cookie))).values[0]?.value
  return session && identifyAccount(server, session)
}

/** The cookie of the browser session, which nobody else knows. */
export const browserSecret = (server: ServerContext, request: Request): string | undefined =>
  readCookies(server.issuer, request).get(name)

/** Signs out in this browser. Answers the cookie to set. */
export const endBrowserSession = async (server: ServerContext, request: Request): Promise<string> => {
  const cookie = browserSecret(server, request)
  if (cookie) {
    const session = (await server.records.get(browserSessionRef(cookie))).values[0]?.value
    if (session) {
      const { account, upstreamSession } = session
      await server.records.commit({ deletes: [browserSessionRef(cookie), sessionBrowserRef(upstreamSession, cookie)] })
      server.audit({ type: 'sign_out', account, everywhere: false })
      await releaseQuietly(server, upstreamSession)
    }
  }
  return setCookie(server.issuer, name, '', 0)
}

/** Signs out of all browsers. Grants stay: they are clients'. */
export const signOutEverywhere = async (server: ServerContext, account: string): Promise<void> => {
  const { records } = server
  const ref = accountRef(account)
  for (let attempt = 0; attempt < 10; attempt++) {
    const { values, now } = await records.get(ref)
    const [stored] = values
    if (!stored) return
    const { committed } = await records.commit({
      unchanged: [stored],
      puts: [put(ref, { ...stored.value, signedOutAt: now })],
    })
    if (!committed) continue
    server.audit({ type: 'sign_out', account, everywhere: true })
    return
  }
  throw new StoreUnavailable('an account changed again and again')
}

/**
 * Begins a browser session for who has just signed in, always with a new cookie: one that somebody planted or saw before is worth nothing.
 * Answers the cookie to set.
 */
export const beginBrowserSession = async (
  server: ServerContext,
  request: Request,
  account: Account,
  upstream: UpstreamSession,
): Promise<string> => {
  const { records, lifetimes, issuer } = server
  const before = readCookies(issuer, request).get(name)
  const cookie = base64url(server.random.bytes(32))
  const ref = browserSessionRef(cookie)
  const ttl = lifetimes.browserSession * 1000
  const { values, now } = await records.get(ref, ...(before ? [browserSessionRef(before)] : []))
  const replaced = values[1]?.value
  const session: BrowserSession = {
    account: account.id,
    upstreamSession: upstream.id,
    authTime: upstream.authTime,
    createdAt: now,
  }
  await records.commit({
    puts: [put(ref, session, ttl), put(sessionBrowserRef(upstream.id, cookie), {}, ttl)],
    deletes: before && replaced ? [browserSessionRef(before), sessionBrowserRef(replaced.upstreamSession, before)] : [],
  })
  if (replaced) await releaseQuietly(server, replaced.upstreamSession)
  return setCookie(issuer, name, cookie, lifetimes.browserSession)
}

/** An upstream session that this sign-in no longer needs is ended where nothing else needs it. That must not fail the person's sign-in. */
export const releaseQuietly = async (server: ServerContext, upstreamSession: string): Promise<void> => {
  try {
    await server.custody.release(upstreamSession)
  } catch (error) {
    server.logger.warn('an upstream session could not be released', { error })
  }
}
