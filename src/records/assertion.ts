import { hashStrings } from '../crypto/hash.ts'
import { recordType, refTo } from './records.ts'
import type { Statement } from './upstream-session.ts'

/** Replay mark: an identity assertion that was accepted. It lives as long as the assertion could be used. */
const assertions = recordType<{ readonly attempt: string }>({ name: 'assertion', schema: 1, sealed: false })

export const assertionRef = (issuer: string, jti: string) => refTo(assertions, hashStrings(issuer, jti))

/** What a platform said of the workload that got an access token. It lives as long as the token. */
export interface WorkloadStatement {
  readonly provider: string
  readonly issuer: string
  readonly subject: string
  readonly said: readonly Statement[]
}

const workloadStatements = recordType<WorkloadStatement>({ name: 'workload', schema: 1, sealed: true })

/** @param token the `jti` of the access token */
export const workloadRef = (token: string) => refTo(workloadStatements, token)
