import { systemRandom } from '../events/random.ts'
import type { Version } from './store.ts'

/**
 * 96 random bits. A sequence would need a second write each commit, and would give out old versions again once its file is restored
 * from a backup; these never meet.
 */
export function newVersion(): Version {
  return Buffer.from(systemRandom.bytes(12)).toString('base64url') as Version
}
