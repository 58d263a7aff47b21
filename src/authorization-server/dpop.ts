import { type DpopProof, DpopProofInvalid } from '../oauth/dpop-proof.ts'
import { OAuthError } from '../oauth/errors.ts'
import { findResource } from '../oauth/resource.ts'
import type { Client } from '../records/client.ts'
import type { ServerContext } from './context.ts'

/**
 * The proof that came with a request, checked but not used up; undefined where there is none.
 * @param url of the endpoint
 * @throws OAuthError `invalid_dpop_proof`, `use_dpop_nonce`
 * @see RFC 9449 §5, §8
 */
export const readProof = async (
  { dpop, clock }: ServerContext,
  request: Request,
  url: string,
): Promise<DpopProof | undefined> => {
  const header = request.headers.get('dpop')
  if (header === null) return undefined
  const proof = await dpop.read(header, { method: request.method, url, now: clock.now() }).catch((error: unknown) => {
    throw error instanceof DpopProofInvalid ? invalidProof(error.reason, error) : error
  })
  if (dpop.nonces && !(proof.nonce !== undefined && (await dpop.nonces.isGood(proof.nonce)))) {
    throw new OAuthError('use_dpop_nonce', 'the DPoP proof needs the nonce of the DPoP-Nonce header', {
      reason: proof.nonce === undefined ? 'dpop_nonce_missing' : 'dpop_nonce_old',
      headers: { 'DPoP-Nonce': await dpop.nonces.current() },
    })
  }
  return proof
}

/** @throws OAuthError `invalid_dpop_proof` where it was used before; StoreUnavailable */
export const useProof = async ({ dpop, clock }: ServerContext, proof: DpopProof): Promise<void> => {
  if (!(await dpop.marks.use(proof, clock.now()))) throw invalidProof('replayed')
}

/** For an answer that all is well: the nonce to be used next, where it is another one. @see RFC 9449 §8.2 */
export const nextNonce = async (
  { dpop: { nonces } }: ServerContext,
  { nonce }: DpopProof,
): Promise<Readonly<Record<string, string>>> => {
  const current = await nonces?.current()
  return current === undefined || current === nonce ? {} : { 'DPoP-Nonce': current }
}

const invalidProof = (reason: string, cause?: unknown): OAuthError =>
  new OAuthError('invalid_dpop_proof', 'the DPoP proof is not valid for this request', {
    reason: `dpop_${reason}`,
    ...(cause === undefined ? {} : { cause }),
  })

/** Whether the client, or the resource, wants access tokens that are bound to a key, and no others. */
const mustBind = ({ resources }: ServerContext, client: Client, resource: string): boolean =>
  client.dpopBoundAccessTokens === true || findResource(resources, resource)?.dpopBoundAccessTokensRequired === true

/**
 * Refuses a token that anybody could use who has it, where none such may be.
 * @param jkt of the key that the token would be bound to
 * @throws OAuthError `invalid_dpop_proof`
 * @see RFC 9449 §5.2, RFC 9728 §2
 */
export const checkBinding = (
  server: ServerContext,
  client: Client,
  resource: string,
  jkt: string | undefined,
): void => {
  if (jkt !== undefined || !mustBind(server, client, resource)) return
  throw missingProof()
}

export const missingProof = (): OAuthError =>
  new OAuthError('invalid_dpop_proof', 'a DPoP proof is needed here', { reason: 'dpop_missing' })
