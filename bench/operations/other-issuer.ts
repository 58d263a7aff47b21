import { jwtVerify } from 'jose'
import { asHeader, gateCall, handle, type Respond } from './gate-call.ts'
import { byIntrospection, byKeys } from './gates.ts'
import { type JwtIssuer, jwtIssuer } from './jwt-issuer.ts'
import { inTurn, type Operation, onlyOnce } from './operation.ts'
import { CHECKS, withCachedIntrospection, withJose } from './peers.ts'

const LIVE = 10_000

/** Calls with tokens of an issuer elsewhere, and the yardstick. */
export const otherIssuer: Readonly<Record<string, () => Promise<Operation>>> = {
  async 'one jose.jwtVerify'() {
    const issuer = await jwtIssuer()
    const fresh = onlyOnce(issuer.mint)
    return { prepare: fresh.prepare, call: () => jwtVerify(fresh.take(), issuer.publicKey, CHECKS) }
  },
  'no gate': () => seen(() => handle),
  'gate, token seen': () => seen((issuer) => byKeys(issuer)),
  'gate, token never seen': () => neverSeen((issuer) => byKeys(issuer)),
  'gate with introspection, token seen': () => seen(byIntrospection),
  'requireBearerAuth with jose': () => neverSeen(withJose),
  'requireBearerAuth, cached introspection': () => seen(withCachedIntrospection),
}

/** With ten thousand live tokens in turn; all of them were presented before. */
async function seen(respondOf: (issuer: JwtIssuer) => Respond): Promise<Operation> {
  const issuer = await jwtIssuer()
  const respond = respondOf(issuer)
  const tokens: Buffer[] = []
  while (tokens.length < LIVE) tokens.push(asHeader(await issuer.mint()))
  const once = gateCall(respond, inTurn(tokens))
  for (const _ of tokens) await once()
  return { call: gateCall(respond, inTurn(tokens)) }
}

/** Each call with a token of its own. */
async function neverSeen(respondOf: (issuer: JwtIssuer) => Respond): Promise<Operation> {
  const issuer = await jwtIssuer()
  const fresh = onlyOnce(async () => asHeader(await issuer.mint()))
  return { prepare: fresh.prepare, call: gateCall(respondOf(issuer), fresh.take) }
}
