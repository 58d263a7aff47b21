import { mkdirSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Options, UpstreamClaims } from 'countersign'
import { sqlite } from 'countersign/store/sqlite'
import { localAccounts } from 'countersign/upstream/local'
import { openid } from 'countersign/upstream/openid'

/**
 * What the servers of these tests have in common: their settings, from the environment, and how they start and stop.
 * `LOCAL_DOCUMENTS`: set to take client metadata documents of this computer too. `PUBLIC_URL`: where clients reach it, if not where it listens. `ACCESS_TOKEN`: an access token's lifetime in seconds. `UPSTREAM`: an OpenID Provider's issuer, in place of local accounts.
 */
const {
  PUBLIC_URL,
  PORT = '0',
  COUNTERSIGN_DATA = '.',
  COUNTERSIGN_DEMO_PASSWORD = '',
  ACCESS_TOKEN,
  REFRESH_GRACE,
} = process.env
const { LOCAL_DOCUMENTS, UPSTREAM, UPSTREAM_CLIENT_ID = '', UPSTREAM_CLIENT_SECRET = '' } = process.env

interface Started {
  readonly listener: RequestListener
  readonly auth: { ready(): Promise<void>; close(): Promise<void> }
}

export async function start(make: (options: Omit<Options<UpstreamClaims>, 'resources'>) => Started): Promise<void> {
  mkdirSync(COUNTERSIGN_DATA, { recursive: true, mode: 0o700 })
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(Number(PORT), '127.0.0.1', resolve))
  const address = `http://localhost:${(server.address() as AddressInfo).port}`
  const url = PUBLIC_URL ?? address

  const people = localAccounts()
  const { listener, auth } = make({
    url,
    store: sqlite(join(COUNTERSIGN_DATA, 'countersign.db')),
    lifetimes: { ...seconds('accessToken', ACCESS_TOKEN), ...seconds('refreshGrace', REFRESH_GRACE) },
    tokenClaims: ['email', 'groups'],
    clientMetadataDocuments: { loopback: LOCAL_DOCUMENTS !== undefined },
    upstream: UPSTREAM ? provider(UPSTREAM) : people,
  })
  await auth.ready()
  if (!UPSTREAM) {
    for (const username of ['demo', 'other']) {
      if (await people.accounts.find(username)) continue
      const name = `The ${username} person`
      await people.accounts.create({
        username,
        password: COUNTERSIGN_DEMO_PASSWORD,
        name,
        email: `${username}@example.com`,
      })
    }
  }

  server.on('request', listener)
  console.log(`listening ${address}`)
  console.log(`ready ${url}/mcp`)
  process.once('SIGTERM', () => {
    server.close(() => auth.close().then(() => process.exit(0)))
    server.closeAllConnections()
  })
}

const seconds = (name: string, value: string | undefined) => (value === undefined ? {} : { [name]: Number(value) })

const provider = (issuer: string) =>
  openid({
    issuer,
    clientId: UPSTREAM_CLIENT_ID,
    clientSecret: UPSTREAM_CLIENT_SECRET,
    scopes: ['openid', 'profile', 'email', 'groups', 'offline_access'],
    authorizationParameters: { prompt: 'consent' },
  })
