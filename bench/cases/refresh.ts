import { register, signInDevices } from '../harness/countersign-sign-in.ts'
import { dataFolder } from '../harness/data-folder.ts'
import type { LoadClient } from '../harness/load.ts'
import type { Variant } from '../harness/rounds.ts'
import { startServer } from '../harness/server-process.ts'
import { CONNECTIONS, connections, isJwt } from './connections.ts'

/** Many, because a real device refreshes once an hour, and what a server keeps about it depends on that. */
const DEVICES = 256

/** Rotating refresh at the token endpoint, on SQLite: each device presents what it was given last. */
export const refresh: readonly Variant[] = [
  {
    name: 'countersign',
    async start() {
      const server = await startServer('countersign', { BENCH_DATA: dataFolder() })
      const { clientId, tokens } = await signInDevices(server, DEVICES)
      return {
        server,
        clients: refreshing(
          clientId,
          tokens.map((each) => each.refresh_token),
        ),
      }
    },
  },
  { name: 'oidc-provider', start: () => peer('notes:read') },
  // As it comes: with an id_token in each answer, signed with RS256. Countersign issues none.
  { name: 'oidc-provider, openid', start: () => peer('openid notes:read') },
]

async function peer(scope: string) {
  const server = await startServer('oidc-provider', { BENCH_DATA: dataFolder(), NODE_NO_WARNINGS: '1' })
  const clientId = await register(`http://localhost:${server.ready.port}/reg`)
  const tokens: string[] = []
  for (let index = 0; index < DEVICES; index++)
    tokens.push(await server.ask<string>({ want: 'refresh token', clientId, scope }))
  return { server, clients: refreshing(clientId, tokens) }
}

/** Each connection serves a share of the devices, in turns. */
export function refreshing(clientId: string, tokens: readonly string[]): LoadClient[] {
  return connections((first) =>
    connection(
      clientId,
      tokens.filter((_, index) => index % CONNECTIONS === first),
    ),
  )
}

function connection(clientId: string, tokens: string[]): LoadClient {
  const headers = { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' }
  let device = 0
  return {
    next() {
      device = (device + 1) % tokens.length
      const token = tokens[device] ?? ''
      const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token, client_id: clientId })
      return { path: '/token', headers, body: body.toString() }
    },
    accept(status, body) {
      const { refresh_token: next, access_token: access } = status === 200 ? JSON.parse(body) : {}
      if (typeof next !== 'string' || next === tokens[device] || !isJwt(access)) {
        throw new Error(`the refresh was not rotated: ${status} ${body.slice(0, 2000)}`)
      }
      tokens[device] = next
    },
  }
}
