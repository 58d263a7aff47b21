import { base64url } from '../crypto/bytes.ts'
import { decoyHash, hashPassword, verifyPassword } from '../crypto/password.ts'
import type { UpstreamClaims } from '../identity/access-token.ts'
import type { JsonObject } from '../identity/json.ts'
import { type LocalAccount, localAccountRef, localUsernameRefs } from '../records/local-account.ts'
import { readLookupHashes } from '../records/lookup-hash.ts'
import { put } from '../records/records.ts'
import type { UpstreamContext } from './context.ts'
import { createSignInLimits, type SignInLimitOptions } from './local-limits.ts'
import { type ClaimsSchema, type Provider, type SignIn, SignInRefused } from './provider.ts'

export interface LocalAccountsOptions<Claims = UpstreamClaims> {
  /** What people read on the sign-in page. In the middle of a sentence. Default: `your account here`. */
  readonly name?: string
  readonly claims?: ClaimsSchema<Claims>
  readonly limits?: SignInLimitOptions
}

export interface NewLocalAccount {
  /** 1 to 128 characters. Compared without regard to case and to the ways in which Unicode can write the same. */
  readonly username: string
  /** 8 to 256 characters. */
  readonly password: string
  readonly name?: string
  readonly email?: string
  readonly emailVerified?: boolean
  readonly picture?: string
  readonly groups?: readonly string[]
  readonly roles?: readonly string[]
}

/** A local account, as an administrator sees it. */
export interface LocalAccountInfo {
  /** The subject of its identity: random and stable. */
  readonly id: string
  readonly username: string
  readonly claims: JsonObject
  /** Milliseconds since the epoch. */
  readonly createdAt: number
}

export interface LocalAccountAdministration {
  /** @throws UsernameTaken; TypeError for a name or password that is not allowed */
  create(account: NewLocalAccount): Promise<LocalAccountInfo>
  find(username: string): Promise<LocalAccountInfo | undefined>
  /** Answers whether there is such an account. Who is signed in stays so. @throws TypeError for a password that is not allowed */
  setPassword(username: string, password: string): Promise<boolean>
  /**
   * Deletes the name and the password: nobody signs in with them any more. Answers whether there were any. What was signed in with them stays
   * until the person's account is deleted (`auth.accounts.delete`), which deletes these too.
   */
  delete(username: string): Promise<boolean>
}

export class UsernameTaken extends Error {
  override readonly name = 'UsernameTaken'
  constructor() {
    super('there is an account of that name already')
  }
}

export interface LocalAccounts<Claims = UpstreamClaims> extends Provider<Claims> {
  /** Waits for the server that this provider is given to. */
  readonly accounts: LocalAccountAdministration
}

/** Accounts of this server's own: a name and a password on its sign-in page. Provider id `local`; the issuer is the server's own. */
export const localAccounts = <Claims = UpstreamClaims>(
  options: LocalAccountsOptions<Claims> = {},
): LocalAccounts<Claims> => {
  let opened: (directory: Directory) => void = () => {}
  const directory = new Promise<Directory>((resolve) => {
    opened = resolve
  })
  return {
    id: 'local',
    name: options.name ?? 'your account here',
    ...(options.claims === undefined ? {} : { claims: options.claims }),
    open(context) {
      const open = createDirectory(context)
      opened(open)
      const limits = createSignInLimits(context, options.limits)
      return {
        kind: 'password',
        async signIn(username, password, { address }) {
          const canonical = canonicalUsername(username)
          if (!isUsername(canonical) || !isPassword(password)) throw new SignInRefused('credentials')
          return limits.attempt(canonical, address, async (): Promise<SignIn> => {
            const account = await open.byCanonicalName(canonical)
            const correct = await verifyPassword(password, account?.passwordHash ?? decoyHash)
            if (!account || !correct) throw new SignInRefused('credentials')
            await open.rehash(canonical)
            const now = context.clock.now()
            return {
              issuer: context.issuer,
              subject: account.id,
              authTime: Math.floor(now / 1000),
              said: [
                { source: 'account', at: now, claims: { ...account.claims, preferred_username: account.username } },
              ],
            }
          })
        },
      }
    },
    accounts: {
      create: async (account) => (await directory).create(account),
      find: async (username) => (await directory).find(username),
      setPassword: async (username, password) => (await directory).setPassword(username, password),
      delete: async (username) => (await directory).delete(username),
    },
  }
}

interface Directory extends LocalAccountAdministration {
  byCanonicalName(canonical: string): Promise<LocalAccount | undefined>
  /** Where the name is written as it was before, it is written as names are now. */
  rehash(canonical: string): Promise<void>
}

const createDirectory = ({ records, random }: UpstreamContext): Directory => {
  const namesOf = async (canonical: string) => {
    const refs = localUsernameRefs((await readLookupHashes({ records, random }))('username', canonical))
    return { refs, ...(await records.get(...refs)) }
  }
  const stored = async (canonical: string) => {
    const [name, before] = (await namesOf(canonical)).values
    const found = name ?? before
    return found && (await records.get(localAccountRef(found.value.id))).values[0]
  }
  return {
    async rehash(canonical) {
      const { refs, values } = await namesOf(canonical)
      const [name, before] = values
      if (name || !before) return
      // Whoever was faster did the same, or deleted the account.
      await records.commit({ unchanged: [refs[0], before], puts: [put(refs[0], before.value)], deletes: [before.ref] })
    },
    byCanonicalName: async (canonical) => (await stored(canonical))?.value,
    async find(username) {
      const account = await stored(canonicalUsername(username))
      return account && infoOf(account.value)
    },

    async create({ username, password, ...known }) {
      const canonical = canonicalUsername(username)
      if (!isUsername(canonical)) throw new TypeError('username must be 1 to 128 characters, none of them a control')
      checkPassword(password)
      const { refs, values, now } = await namesOf(canonical)
      if (values.some((name) => name !== undefined)) throw new UsernameTaken()
      const id = base64url(random.bytes(16))
      const account: LocalAccount = {
        id,
        username: username.normalize('NFKC').trim(),
        passwordHash: await hashPassword(password),
        claims: claimsOf(known),
        createdAt: now,
      }
      const result = await records.commit({
        unchanged: refs,
        puts: [put(refs[0], { id }), put(localAccountRef(id), account)],
      })
      if (!result.committed) throw new UsernameTaken()
      return infoOf(account)
    },

    async delete(username) {
      const account = await stored(canonicalUsername(username))
      return account !== undefined && deleteLocalAccount({ records, random }, account.value.id)
    },

    async setPassword(username, password) {
      checkPassword(password)
      const passwordHash = await hashPassword(password)
      for (;;) {
        const before = await stored(canonicalUsername(username))
        if (!before) return false
        const after = put(before.ref, { ...before.value, passwordHash })
        if ((await records.commit({ unchanged: [before], puts: [after] })).committed) return true
      }
    },
  }
}

/** Deletes a local account by its id. Answers whether there was one. @throws StoreUnavailable */
export const deleteLocalAccount = async (
  { records, random }: Pick<UpstreamContext, 'records' | 'random'>,
  id: string,
): Promise<boolean> => {
  for (;;) {
    const [account] = (await records.get(localAccountRef(id))).values
    if (!account) return false
    const hashes = await readLookupHashes({ records, random })
    const refs = localUsernameRefs(hashes('username', canonicalUsername(account.value.username)))
    const names = (await records.get(...refs)).values
    const own = names.flatMap((name) => (name?.value.id === id ? [name] : []))
    const result = await records.commit({
      unchanged: [account, ...own],
      deletes: [account.ref, ...own.map(({ ref }) => ref)],
    })
    if (result.committed) return true
  }
}

const claimsOf = ({ emailVerified, ...claims }: Omit<NewLocalAccount, 'username' | 'password'>): JsonObject =>
  structuredClone({ ...claims, ...(emailVerified === undefined ? {} : { email_verified: emailVerified }) })

const infoOf = ({ passwordHash: _secret, ...info }: LocalAccount): LocalAccountInfo => info

/** One spelling for all the ways to write a name; applying it again changes nothing. */
export const canonicalUsername = (username: string): string => {
  let canonical = username
  // Lowering a letter can leave something to compose, and the reverse; three rounds are more than any letter needs.
  for (let round = 0; round < 3; round++) canonical = canonical.normalize('NFKC').toLowerCase().trim()
  return canonical
}

const isUsername = (canonical: string): boolean =>
  canonical.length >= 1 && canonical.length <= 128 && !/\p{C}/u.test(canonical)

const shortestPassword = 8
const longestPassword = 256

const isPassword = (password: string): boolean => password.length > 0 && password.length <= longestPassword

const checkPassword = (password: string): void => {
  if (password.length < shortestPassword || password.length > longestPassword) {
    throw new TypeError(`password must be ${shortestPassword} to ${longestPassword} characters`)
  }
}
