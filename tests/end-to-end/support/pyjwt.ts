import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { canInstallPackages, installPackages } from '../../support/apt.ts'
import { type Unavailable, unavailable } from '../../support/unavailable.ts'

const run = promisify(execFile)
// The system's own, because that is where its packages are.
const PYTHON = '/usr/bin/python3'

const verify = `
import json, sys, jwt
jwks_uri, issuer, audience = sys.argv[1:4]
token = sys.stdin.read()
key = jwt.PyJWKClient(jwks_uri).get_signing_key_from_jwt(token).key
required = {'require': ['exp', 'iss', 'aud', 'sub']}
print(json.dumps(jwt.decode(token, key, algorithms=['ES256'], issuer=issuer, audience=audience, options=required)))
`

/** Somebody else's verifier, in another language: Python's PyJWT. On Debian, as root, it is installed where it is missing. */
export async function findPyJwt(): Promise<{ readonly python: string } | Unavailable> {
  if (await imports()) return { python: PYTHON }
  if (!canInstallPackages()) return unavailable('no PyJWT here: install python3-jwt and python3-cryptography')
  await installPackages('python3-jwt', 'python3-cryptography')
  return (await imports()) ? { python: PYTHON } : unavailable('the package python3-jwt brought no PyJWT')
}

/** The claims of a token as PyJWT verified them. @throws {Error} with its words */
export async function verifyWithPyJwt(
  token: string,
  expected: { readonly jwksUri: string; readonly issuer: string; readonly audience: string },
): Promise<Record<string, unknown>> {
  const verification = run(PYTHON, ['-c', verify, expected.jwksUri, expected.issuer, expected.audience])
  verification.child.stdin?.end(token)
  return JSON.parse((await verification).stdout) as Record<string, unknown>
}

async function imports(): Promise<boolean> {
  return run(PYTHON, ['-c', 'import jwt, cryptography']).then(
    () => true,
    () => false,
  )
}
