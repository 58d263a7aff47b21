import { authorizer, redeem } from './countersign-sign-in.ts'
import type { ServerProcess } from './server-process.ts'

/** Grants that share the tokens between them: each is good for many, by refreshing. */
const GRANTS = 100

/** Makes live access tokens of a Countersign server, as many as are asked for: each was never presented to anybody. */
export async function ownTokens(server: ServerProcess): Promise<(count: number) => Promise<string[]>> {
  const { port } = server.ready
  const { clientId, redirectUri, next } = await authorizer(server)
  const grants: string[] = []
  while (grants.length < GRANTS) {
    grants.push((await redeem(port, clientId, redirectUri, await next())).refresh_token)
  }
  const refresh = async (grant: number): Promise<string> => {
    const parameters = { grant_type: 'refresh_token', refresh_token: grants[grant] ?? '', client_id: clientId }
    const body = new URLSearchParams(parameters)
    const answer = await fetch(`http://localhost:${port}/token`, { method: 'POST', body })
    const { access_token: token, refresh_token: rotated } = (await answer.json()) as Record<string, string>
    if (token === undefined || rotated === undefined) throw new Error(`a refresh was answered with ${answer.status}`)
    grants[grant] = rotated
    return token
  }
  return async (count) => {
    const tokens: string[] = []
    while (tokens.length < count) {
      const together = Math.min(GRANTS, count - tokens.length)
      tokens.push(...(await Promise.all(Array.from({ length: together }, (_, grant) => refresh(grant)))))
    }
    return tokens
  }
}
