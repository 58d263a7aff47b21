import { type Countersign, countersign } from 'countersign'
import { sqliteAudit } from 'countersign/audit/sqlite'
import { sqlite } from 'countersign/store/sqlite'

/** Keeps its audit events for a year, makes its signing keys anew each month, and takes two secrets while one replaces the other. */
export const operatedServer = (folder: string, url: string, secrets: readonly [string, ...string[]]) => {
  const history = sqliteAudit(`${folder}/audit.db`, { keepFor: 365 * 86_400 })
  const auth = countersign({
    url,
    secret: secrets,
    store: sqlite(`${folder}/countersign.db`),
    audit: [history, (event) => console.error(JSON.stringify(event))],
    keyRotation: { sign: 30 * 86_400 },
    resources: { '/mcp': { scopes: { 'notes:read': 'Read your notes' } } },
  })
  return { auth, history }
}

/** Somebody asks to be forgotten: who they are at their provider says which account is theirs. */
export const forget = async (auth: Countersign, issuer: string, subject: string) => {
  const account = await auth.accounts.find({ issuer, subject })
  return account && auth.accounts.delete(account.id)
}

/** What a client did in the last day, newest first. */
export const lastDay = async ({ history }: ReturnType<typeof operatedServer>, clientId: string) => {
  const { events } = await history.query({ clientId, from: Date.now() - 86_400_000 })
  return events.map(({ at, type }) => `${new Date(at).toISOString()} ${type}`)
}
