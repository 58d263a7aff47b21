import type { Clock } from '../events/clock.ts'
import type { DpopMarks } from '../oauth/dpop-marks.ts'
import type { DpopNonces } from '../oauth/dpop-nonce.ts'
import { createDpopProofReader, type DpopProof, DpopProofInvalid } from '../oauth/dpop-proof.ts'
import type { Resource } from '../oauth/resource.ts'
import type { GateRequest } from './handler.ts'

/** What proofs are checked against, besides their request. */
export interface GateDpop {
  readonly marks: DpopMarks
  /** Present where proofs must bring a nonce. */
  readonly nonces?: DpopNonces
}

/** A proof that is no proof for its request. */
export class ProofRefused extends Error {
  override readonly name = 'ProofRefused'
  readonly code: 'invalid_dpop_proof' | 'use_dpop_nonce'
  /** For the audit log. */
  readonly reason: string
  /** For the response. */
  readonly headers: Readonly<Record<string, string>>
  constructor(code: ProofRefused['code'], reason: string, headers: ProofRefused['headers'] = {}, cause?: unknown) {
    super(`${code}: ${reason}`, { cause })
    this.code = code
    this.reason = reason
    this.headers = headers
  }
}

/** A proof that is right for its request, and not used up yet. */
export interface CheckedProof {
  readonly jkt: string
  /** For the response of what stands behind the gate: the nonce to use next, where it is another one. */
  readonly responseHeaders: Readonly<Record<string, string>>
  /** @throws ProofRefused where it was used before */
  use(): Promise<void>
}

/**
 * Makes the check of the proofs that come with requests to a resource.
 * @param open answers what it is checked against; asked at each proof
 * @returns rejects with `ProofRefused`; with anything else where nobody knows now
 * @see RFC 9449 §4.3, §7.1, §9
 */
export const createProofCheck = (resource: Resource, open: () => GateDpop | Promise<GateDpop>, clock: Clock) => {
  const read = createDpopProofReader()
  const targetOf = createTarget(resource)

  return async (request: GateRequest, accessToken: string): Promise<CheckedProof> => {
    const { marks, nonces } = await open()
    const header = request.headers.get('dpop')
    if (header === null) throw new ProofRefused('invalid_dpop_proof', 'dpop_missing')
    const now = clock.now()
    const asked = { method: request.method, url: targetOf(request), accessToken, now }
    const proof = await read(header, asked).catch((error: unknown) => {
      if (!(error instanceof DpopProofInvalid)) throw error
      throw new ProofRefused('invalid_dpop_proof', `dpop_${error.reason}`, {}, error)
    })
    const next = await nextNonce(nonces, proof)
    return {
      jkt: proof.jkt,
      responseHeaders: next,
      async use() {
        if (!(await marks.use(proof, now))) throw new ProofRefused('invalid_dpop_proof', 'dpop_replayed')
      },
    }
  }
}

/** @throws ProofRefused where a nonce is needed and there is none that is good */
const nextNonce = async (
  nonces: DpopNonces | undefined,
  { nonce }: DpopProof,
): Promise<Readonly<Record<string, string>>> => {
  if (!nonces) return {}
  const current = await nonces.current()
  if (nonce === current) return {}
  const headers = { 'DPoP-Nonce': current }
  if (nonce !== undefined && (await nonces.isGood(nonce))) return headers
  throw new ProofRefused('use_dpop_nonce', nonce === undefined ? 'dpop_nonce_missing' : 'dpop_nonce_old', headers)
}

/**
 * Where a request went to, as its client knows it: the resource's own URL, or what is below it. Never from `Host`; a proxy in front may have
 * changed the path, so that it counts only where it is below the resource's.
 */
const createTarget = ({ identifier }: Resource): ((request: GateRequest) => string) => {
  const { origin, pathname } = new URL(identifier)
  const base = `${pathname.replace(/\/$/, '')}/`
  return ({ url }) => {
    const path = URL.canParse(url) ? new URL(url).pathname : ''
    return path.startsWith(base) ? origin + path : identifier
  }
}
