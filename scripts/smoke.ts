/**
 * Starts the example as a person would, and looks whether it is there: `node --import tsx scripts/smoke.ts npm start`. A free port and
 * a data folder of its own; stopped as Ctrl-C does it, after which nothing may listen any more.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startProcess } from '../tests/support/process.ts'

const [command, ...args] = process.argv.slice(2)
assert(command !== undefined, 'which command starts the example?')

const data = mkdtempSync(join(tmpdir(), 'countersign-smoke-'))
const example = startProcess(command, args, { env: { PORT: '0', COUNTERSIGN_DATA: data }, group: true })
try {
  const [, endpoint = ''] = await example.line(/^ready (http:\/\/localhost:\d+\/mcp)$/, 120_000)
  const { origin } = new URL(endpoint)

  const server = await json(`${origin}/.well-known/oauth-authorization-server`)
  assert.equal(server.issuer, origin)
  const resource = await json(`${origin}/.well-known/oauth-protected-resource/mcp`)
  assert.deepEqual([resource.resource, resource.authorization_servers], [endpoint, [origin]])
  const challenge = await fetch(endpoint, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  })
  assert.equal(challenge.status, 401)
  assert.match(challenge.headers.get('www-authenticate') ?? '', /^Bearer .*resource_metadata="/)

  example.signal('SIGINT')
  const late = setTimeout(() => example.signal('SIGKILL'), 20_000)
  const end = await example.ended
  clearTimeout(late)
  assert.notEqual(end.signal, 'SIGKILL', `the example did not stop at Ctrl-C\n${example.stdout}`)
  await assert.rejects(fetch(endpoint), 'something still listens after the example was stopped')
  console.log(`smoke: ${[command, ...args].join(' ')} was ready at ${endpoint}, and stopped`)
} finally {
  await example.stop(0)
  rmSync(data, { recursive: true, force: true })
}

async function json(url: string): Promise<Record<string, unknown>> {
  const response = await fetch(url)
  assert.equal(response.status, 200, url)
  return (await response.json()) as Record<string, unknown>
}
