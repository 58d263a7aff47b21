import { hashStrings } from '../crypto/hash.ts'
import { recordType, refTo } from './records.ts'

/** Replay mark: an assertion of a client that was accepted. It lives as long as the assertion could be used. */
const clientAssertions = recordType<Record<string, never>>({ name: 'client-assertion', schema: 1, sealed: false })

/** @param id the assertion's `jti`, or the assertion itself where it has none */
export const clientAssertionRef = (clientId: string, id: string) => refTo(clientAssertions, hashStrings(clientId, id))
