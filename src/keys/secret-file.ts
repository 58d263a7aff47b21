import { link, mkdir, open, readFile, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { base64url } from '../crypto/bytes.ts'
import type { Random } from '../events/random.ts'
import { minimumSecretLength } from './secret.ts'

/**
 * The secret that is kept in a file of mode 0600 beside a database, for a server on loopback that was given none; made at the first start.
 * Of several processes that start at once, all get the same one.
 *
 * @throws SecretFileError where the file is there and is not a secret: a new one would make the database unreadable
 */
export const secretBeside = async (database: string, random: Random): Promise<string> => {
  const path = join(dirname(database), 'secret')
  return (await readSecret(path)) ?? (await makeSecret(path, random))
}

const readSecret = async (path: string): Promise<string | undefined> => {
  let text: string
  try {
    text = (await readFile(path, 'utf8')).trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new SecretFileError(path, 'can’t be read', { cause: error })
  }
  if (text.length < minimumSecretLength)
    throw new SecretFileError(path, `holds fewer than ${minimumSecretLength} characters`)
  if (((await stat(path)).mode & 0o077) !== 0)
    throw new SecretFileError(path, 'may be read by others: its mode must be 0600')
  return text
}

// Written whole under another name and then linked, so that nobody reads half a secret and the first one stays.
const makeSecret = async (path: string, random: Random): Promise<string> => {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const draft = `${path}.${base64url(random.bytes(9))}`
  const file = await open(draft, 'wx', 0o600)
  try {
    await file.writeFile(`${base64url(random.bytes(32))}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  try {
    await link(draft, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST')
      throw new SecretFileError(path, 'can’t be made', { cause: error })
  } finally {
    await unlink(draft)
  }
  const secret = await readSecret(path)
  if (secret === undefined) throw new SecretFileError(path, 'went away while it was made')
  return secret
}

export class SecretFileError extends Error {
  override readonly name = 'SecretFileError'
  constructor(path: string, problem: string, options?: ErrorOptions) {
    super(`the secret file ${path} ${problem}`, options)
  }
}
