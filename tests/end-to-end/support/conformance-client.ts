/** The client that the official suite starts once a scenario: `conformance-client <url>`. */
import { type Authorize, createWellBehavedClient } from './well-behaved-client.ts'

/** The suite's authorization servers approve at once. */
const approved: Authorize = async (request) => {
  const answer = await fetch(request, { redirect: 'manual' })
  const code = new URL(answer.headers.get('location') ?? '').searchParams.get('code')
  if (code === null) throw new Error('no code came back')
  return code
}

const { MCP_CONFORMANCE_SCENARIO: scenario = '', MCP_CONFORMANCE_CONTEXT: context = '{}' } = process.env
const known = JSON.parse(context) as { client_id?: string; client_secret?: string }
const { client_id, client_secret } = known

const { client, connect } = createWellBehavedClient(process.argv[2] ?? '', {
  authorize: approved,
  metadataUrl: 'https://conformance-test.local/client-metadata.json',
  ...(client_id !== undefined && {
    known: { client_id, ...(client_secret !== undefined && { client_secret }) },
  }),
})
await connect()
await client.listTools()
if (scenario !== 'auth/pre-registration') await client.callTool({ name: 'test-tool', arguments: {} })
await client.close()
