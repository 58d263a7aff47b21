import { createHash, randomBytes } from 'node:crypto'
import { authorizer, type Code, REDIRECT_URI, register } from '../harness/countersign-sign-in.ts'
import { dataFolder } from '../harness/data-folder.ts'
import type { Started, Variant } from '../harness/rounds.ts'
import { type ServerProcess, startServer } from '../harness/server-process.ts'
import { connections, forms, isJwt } from './connections.ts'

/** A public client redeems codes, each of a grant of its own, for an access and a refresh token. */
export const codeExchange: readonly Variant[] = [
  {
    name: 'countersign',
    async start() {
      const server = await startServer('countersign', { BENCH_DATA: dataFolder() })
      const { clientId, redirectUri, next } = await authorizer(server)
      return redeeming(server, clientId, redirectUri, async (count) => {
        const codes: Code[] = []
        while (codes.length < count) codes.push(await next())
        return codes
      })
    },
  },
  {
    name: 'oidc-provider',
    async start() {
      const server = await startServer('oidc-provider', { BENCH_DATA: dataFolder(), NODE_NO_WARNINGS: '1' })
      const clientId = await register(`http://localhost:${server.ready.port}/reg`)
      return redeeming(server, clientId, REDIRECT_URI, async (count) => {
        const verifiers = Array.from({ length: count }, () => randomBytes(32).toString('base64url'))
        const challenges = verifiers.map((each) => createHash('sha256').update(each).digest('base64url'))
        const scope = 'notes:read offline_access'
        const codes = await server.ask<string[]>({ want: 'codes', clientId, scope, challenges })
        return verifiers.map((verifier, index) => ({ code: codes[index] ?? '', verifier }))
      })
    },
  },
]

function redeeming(
  server: ServerProcess,
  clientId: string,
  redirectUri: string,
  issue: (count: number) => Promise<Code[]>,
): Started {
  let codes: Code[] = []
  const form = () => {
    const { code, verifier } = codes.pop() ?? { code: '', verifier: '' }
    const redeemed = { code, code_verifier: verifier, redirect_uri: redirectUri, client_id: clientId }
    return { grant_type: 'authorization_code', ...redeemed }
  }
  return {
    server,
    clients: connections(() =>
      forms('/token', {}, form, (answer) => isJwt(answer.access_token) && typeof answer.refresh_token === 'string'),
    ),
    async prepare(requests) {
      codes = await issue(requests)
    },
  }
}
