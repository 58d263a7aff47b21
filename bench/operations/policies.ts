import type { AccessPolicy } from 'countersign'
import { asHeader, gateCall, handle, type Respond, SCOPE, toolsCall } from './gate-call.ts'
import { byKeys } from './gates.ts'
import { type JwtIssuer, jwtIssuer } from './jwt-issuer.ts'
import { inTurn, type Operation } from './operation.ts'

const RULES = 500
const numbers = Array.from({ length: RULES }, (_, index) => index)
const rules = (name: (index: number) => string) =>
  Object.fromEntries(numbers.map((index) => [name(index), { scopes: [SCOPE], kind: 'user' as const }]))

const oneTool: AccessPolicy = { tools: { '*': { scopes: [SCOPE], kind: 'user' } }, unlisted: 'deny' }
const oneTemplate: AccessPolicy = {
  resources: { 'notes://{team}/{id}': { scopes: [SCOPE], kind: 'user' } },
  unlisted: 'deny',
}
const byName: AccessPolicy = { tools: rules((index) => `tool_${index}`), unlisted: 'deny' }
const byGlob: AccessPolicy = { tools: rules((index) => `area${index}_*`), unlisted: 'deny' }
const byTemplate: AccessPolicy = { resources: rules((index) => `notes://team${index}/{id}`), unlisted: 'deny' }

const toolNames = numbers.map((index) => `tool_${index}`)
/** More than are remembered: whatever is found out about a name is found out again. */
const uris = Array.from({ length: 100_000 }, (_, index) => `notes://team${index % RULES}/note-${index}`)
const globNames = Array.from({ length: 1_000 }, (_, index) => `area${index % RULES}_item_${index}`)
const read = (uri: string) => ({ jsonrpc: '2.0', id: 1, method: 'resources/read', params: { uri } })

/** Calls with tokens that were seen, by 500 rules and by none; and lists of 500 tools. */
export const policies: Readonly<Record<string, () => Promise<Operation>>> = {
  'tools, no policy': () => calls({}, toolNames.map(toolsCall)),
  'tools, one rule': () => calls(oneTool, toolNames.map(toolsCall)),
  'tools, 500 names': () => calls(byName, toolNames.map(toolsCall)),
  'tools, 500 globs': () => calls(byGlob, globNames.map(toolsCall)),
  'resources, no policy': () => calls({}, uris.map(read)),
  'resources, one template': () => calls(oneTemplate, uris.map(read)),
  'resources, 500 templates': () => calls(byTemplate, uris.map(read)),
  'list, no gate': () => lists(() => respondWithList),
  'list, no policy': () => lists((issuer) => byKeys(issuer, {}, respondWithList)),
  'list, one rule': () => lists((issuer) => byKeys(issuer, oneTool, respondWithList)),
  'list, 500 names': () => lists((issuer) => byKeys(issuer, byName, respondWithList)),
}

async function calls(policy: AccessPolicy, messages: readonly object[]): Promise<Operation> {
  const issuer = await jwtIssuer()
  const bodies = messages.map((each) => Buffer.from(JSON.stringify(each)))
  const token = asHeader(await issuer.mint())
  return { call: gateCall(byKeys(issuer, policy, handle), () => token, inTurn(bodies)) }
}

const inputSchema = { type: 'object', properties: { query: { type: 'string', description: 'What to look for' } } }
const list = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  result: { tools: toolNames.map((name) => ({ name, description: `Does what ${name} does`, inputSchema })) },
})
const listing = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} }))

async function respondWithList(request: Request, context: { readonly parsedBody?: unknown } = {}): Promise<Response> {
  await handle(request, context)
  return new Response(list, { headers: { 'content-type': 'application/json' } })
}

async function lists(respondOf: (issuer: JwtIssuer) => Respond): Promise<Operation> {
  const issuer = await jwtIssuer()
  const token = asHeader(await issuer.mint())
  const accept = async (response: Response) => {
    const text = await response.text()
    if (text.length < list.length) throw new Error(`${response.status} ${text.slice(0, 500)}`)
  }
  return {
    call: gateCall(
      respondOf(issuer),
      () => token,
      () => listing,
      accept,
    ),
  }
}
