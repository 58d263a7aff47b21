import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface Certificates {
  /** The authority's certificate, PEM. */
  readonly authority: string
  readonly key: string
  readonly certificate: string
}

/** Makes a certificate authority of one certificate, for these names. Needs the command `openssl`. */
export async function makeCertificates(names: readonly string[]): Promise<Certificates> {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-certificates-'))
  const path = (name: string) => join(folder, name)
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  try {
    writeFileSync(path('names'), `subjectAltName=${names.map((name) => `DNS:${name}`).join(',')}\n`)
    await run('openssl', [
      ...['req', '-x509', ...curve, '-keyout', path('ca.key'), '-out', path('ca.pem')],
      ...['-days', '2', '-subj', '/CN=Authority for tests'],
    ])
    await run('openssl', [
      ...['req', ...curve, '-keyout', path('key'), '-out', path('request'), '-subj', '/CN=A server for tests'],
    ])
    await run('openssl', [
      ...['x509', '-req', '-in', path('request'), '-CA', path('ca.pem'), '-CAkey', path('ca.key')],
      ...['-CAcreateserial', '-days', '2', '-extfile', path('names'), '-out', path('certificate')],
    ])
    const read = (name: string) => readFileSync(path(name), 'utf8')
    return { authority: read('ca.pem'), key: read('key'), certificate: read('certificate') }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
