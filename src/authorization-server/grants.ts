import { hashSecret } from '../crypto/hash.ts'
import type { AuditEvent } from '../events/audit.ts'
import type { Account } from '../records/account.ts'
import {
  type AuthorizationGrant,
  accountExchangeRef,
  accountGrantRef,
  clientExchangeRef,
  clientGrantRef,
  type Grant,
  grantRef,
  sessionGrantRef,
} from '../records/grant.ts'
import type { AuthorizationRequest, ResourceScopes } from '../records/interaction.ts'
import { put, type Ref, type Stored, type Unit } from '../records/records.ts'
import { StoreUnavailable } from '../store/store.ts'
import type { ServerContext } from './context.ts'
import { commitRevocation } from './revocations.ts'
import { permittedResources } from './target.ts'
import { formatCode, newGrantId, newSecret } from './tokens.ts'

export interface Approval {
  readonly request: AuthorizationRequest
  readonly account: Account
  readonly upstreamSession: string
  /** When the person authenticated, seconds since the epoch. */
  readonly authTime: number
  /** What the person allowed: that is granted, whatever was asked. Resource to scopes. */
  readonly resources: ResourceScopes
}

export interface IssuedCode {
  readonly code: string
  readonly grant: string
}

type Checked = Pick<Unit, 'unchanged' | 'puts'>

/** What is committed with a grant besides it; read anew where somebody was faster. */
type CommittedWith = (issued: IssuedCode) => Promise<Checked>

/**
 * Writes the grant that a person approved, and its code. Until the code is redeemed the grant lives no longer than it, and no list shows it.
 * @throws StoreUnavailable
 */
export const issueCode = async (
  server: ServerContext,
  { request, account, upstreamSession, authTime, resources: allowed }: Approval,
  committedWith: CommittedWith = async () => ({}),
): Promise<IssuedCode> => {
  const { records, lifetimes, random } = server
  const id = newGrantId(random)
  const secret = newSecret(random)
  const ref = grantRef(id)
  const resources = await permittedResources(server, upstreamSession, allowed)
  const { now } = await records.get(ref)
  const codeLife = lifetimes.code * 1000
  const grant: AuthorizationGrant = {
    id,
    kind: 'authorization',
    issuer: server.issuer,
    account: account.id,
    subject: account.subject,
    clientId: request.clientId,
    redirectHost: request.redirectHost,
    resources,
    upstreamSession,
    authTime,
    createdAt: now,
    expiresAt: now + lifetimes.grant * 1000,
    code: {
      hash: hashSecret(secret),
      redirectUri: request.redirectUri,
      codeChallenge: request.codeChallenge,
      ...(request.dpopJkt === undefined ? {} : { jkt: request.dpopJkt }),
      expiresAt: now + codeLife,
    },
  }
  const issued = { code: formatCode({ grant: id, session: upstreamSession, secret }), grant: id }
  await commitHeld(server, upstreamSession, async () => {
    const { unchanged = [], puts = [] } = await committedWith(issued)
    return {
      unchanged: [ref, ...unchanged],
      puts: [
        put(ref, grant, codeLife),
        put(accountGrantRef(account.id, id), { clientId: grant.clientId }, codeLife),
        put(clientGrantRef(grant.clientId, id), {}, codeLife),
        put(sessionGrantRef(upstreamSession, id), {}, codeLife),
        ...puts,
      ],
    }
  })
  server.audit({
    type: 'code.issued',
    clientId: grant.clientId,
    grant: id,
    account: account.id,
    resources,
  })
  return issued
}

/** The upstream session must outlive the code: it is in use from now on, and whoever was about to release it decides again. */
const commitHeld = async (
  { records, custody }: ServerContext,
  upstreamSession: string,
  unit: () => Promise<Checked>,
): Promise<void> => {
  for (let attempt = 0; attempt < 10; attempt++) {
    const held = await custody.hold(upstreamSession)
    if (!held) break
    const { unchanged = [], puts = [] } = await unit()
    const result = await records.commit({ unchanged: [...unchanged, held.unchanged], puts: [...puts, held.put] })
    if (result.committed) return
  }
  throw new StoreUnavailable('the sign-in ended, or changed again and again, while its grant was made')
}

/** Where a grant is named besides its own record. The session of a child lives by the parent: it stands on that alone. */
export const indexesOf = ({ id, kind, account, clientId, upstreamSession }: Grant): readonly Ref<unknown>[] =>
  kind === 'exchange'
    ? [accountExchangeRef(account, id), clientExchangeRef(clientId, id)]
    : [accountGrantRef(account, id), clientGrantRef(clientId, id), sessionGrantRef(upstreamSession, id)]

export type RevokedBy = Extract<AuditEvent, { type: 'grant.revoked' }>['by']

/**
 * Ends a grant: every token of it, on every node. Nothing happens to one that has ended already.
 * @throws StoreUnavailable it may or may not have ended; asking again is safe
 */
export const revokeGrant = async (server: ServerContext, stored: Stored<Grant>, by: RevokedBy): Promise<void> => {
  const { id, kind, account, clientId, upstreamSession } = stored.value
  const { records, logger } = server
  const { values, now } = await records.get(stored.ref)
  if (!values[0]) return
  // Without a check: whatever a refresh writes at the same time, the grant ends; and its own commit then finds the grant absent.
  await commitRevocation(server, id, now, {
    deletes: [stored.ref, ...indexesOf(stored.value)],
  })
  server.audit({ type: 'grant.revoked', grant: id, clientId, account, by })
  if (kind === 'exchange') return
  try {
    await server.custody.release(upstreamSession)
  } catch (error) {
    logger.warn('the upstream session of a revoked grant was not released', { session: upstreamSession, error })
  }
}

/** As `revokeGrant`. Answers false where there is no such grant, or it is another account's. */
export const revokeGrantById = async (
  server: ServerContext,
  id: string,
  by: RevokedBy,
  account?: string,
): Promise<boolean> => {
  if (!grantIdForm.test(id)) return false
  const [stored] = (await server.records.get(grantRef(id))).values
  if (!stored || (account !== undefined && stored.value.account !== account)) return false
  await revokeGrant(server, stored, by)
  return true
}

export const grantIdForm = /^[\w-]{22}$/

/** Until its code was redeemed nobody has anything of a grant. */
export const isRedeemed = (grant: Grant): boolean => grant.kind !== 'authorization' || grant.code.redeemed !== undefined
