/** What the server must be, and how it should be set, read from its INFO: managed servers don't show their CONFIG. */

const OLDEST = 7

/** @throws Error for a server that can't do it */
export function checkVersion(info: string): void {
  const version = field(info, 'redis_version') // Valkey tells the version of Redis that it is compatible with.
  if (version !== undefined && Number.parseInt(version, 10) < OLDEST) {
    throw new Error(`Redis ${OLDEST} or newer, or Valkey, is needed; the server is Redis ${version}`)
  }
}

/** One text with all that may lose data, or undefined when there is nothing. */
export function settingsWarning(info: string): string | undefined {
  const policy = field(info, 'maxmemory_policy')
  const appendOnly = field(info, 'aof_enabled')
  const findings = [
    policy === undefined && 'maxmemory-policy could not be read: it must be noeviction',
    policy !== undefined &&
      policy !== 'noeviction' &&
      `maxmemory-policy is ${policy}, so a full server throws away ${policy.startsWith('allkeys') ? 'everything that is kept here' : 'the counters of rate limits'}: set it to noeviction`,
    appendOnly === undefined && 'appendonly could not be read: it must be yes',
    appendOnly === '0' &&
      'appendonly is no, so a restart of the server loses what was written since the last snapshot: set it to yes',
  ].filter((finding) => finding !== false)
  return findings.length === 0 ? undefined : `the Redis store may lose data: ${findings.join('; ')}`
}

function field(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(info)?.[1]
}
