import { register, signInDevices } from '../harness/countersign-sign-in.ts'
import { dataFolder } from '../harness/data-folder.ts'
import type { LoadClient } from '../harness/load.ts'
import type { Variant } from '../harness/rounds.ts'
import { startServer } from '../harness/server-process.ts'

const DEVICES = 8

/** Rotating refresh at the token endpoint, on SQLite: each device presents what it was given last. */
export const refresh: readonly Variant[] = [
  {
    name: 'countersign',
    async start() {
      const server = await startServer('countersign', { BENCH_DATA: dataFolder() })
      const { clientId, tokens } = await signInDevices(server, DEVICES)
      return { server, clients: tokens.map((each) => device(clientId, each.refresh_token)) }
    },
  },
  {
    name: 'oidc-provider',
    async start() {
      const server = await startServer('oidc-provider', { BENCH_DATA: dataFolder(), NODE_NO_WARNINGS: '1' })
      const clientId = await register(`http://localhost:${server.ready.port}/reg`)
      const tokens: string[] = []
      for (let index = 0; index < DEVICES; index++) tokens.push(await server.ask<string>({ clientId }))
      return { server, clients: tokens.map((each) => device(clientId, each)) }
    },
  },
]

function device(clientId: string, first: string): LoadClient {
  let current = first
  const headers = { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' }
  return {
    next() {
      const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: current, client_id: clientId })
      return { path: '/token', headers, body: body.toString() }
    },
    accept(status, body) {
      const { refresh_token: next, access_token: access } = status === 200 ? JSON.parse(body) : {}
      // A JWT of ES256 has three parts: a peer that hands out something cheaper isn't compared with.
      if (typeof next !== 'string' || next === current || String(access).split('.').length !== 3) {
        throw new Error(`the refresh answered ${status}: ${body.slice(0, 500)}`)
      }
      current = next
    },
  }
}
