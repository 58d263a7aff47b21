import * as z from 'zod'
import { readSigningKeys, SigningKeysInvalid } from './external-keys.ts'
import { defaultRotation, type RotationPolicy } from './plan.ts'

export type { SigningKeys } from './signing-keys.ts'

/** When keys are made anew: seconds that a key is in use, or `false` for only when it is asked for (`auth.keys.rotate`). */
export interface KeyRotationOptions {
  /** Keys that sign access tokens. Default: 90 days. */
  readonly sign?: number | false | undefined
  /** Keys that seal what the store holds. Default: a year. */
  readonly seal?: number | false | undefined
  /** Keys of refresh tokens. Default: a year. */
  readonly mac?: number | false | undefined
  /** Seconds that a new key is known to all before it is used. Default: an hour. */
  readonly publishedFor?: number | undefined
}

const seconds = z.number().int().positive()
const period = z.union([seconds, z.literal(false)], 'seconds, or false').optional()

/** @internal */
export const keyRotationSchema = z
  .strictObject({ sign: period, seal: period, mac: period, publishedFor: seconds.optional() })
  .refine(
    ({ publishedFor = defaultRotation.lead / 1000, ...periods }) =>
      Object.values(periods).every((each) => typeof each !== 'number' || each > publishedFor),
    'expected each period to be longer than publishedFor',
  )

const algorithm = z.enum(['ES256', 'EdDSA', 'RS256'])
const inline = z.strictObject({ keys: z.union([z.string(), z.looseObject({})]) }).superRefine((source, context) => {
  try {
    readSigningKeys(source)
  } catch (error) {
    if (!(error instanceof SigningKeysInvalid)) throw error
    context.addIssue({ code: 'custom', path: ['keys'], message: `expected ${error.message}` })
  }
})
const inFile = z.strictObject({ file: z.string().min(1) })

/** @internal */
export const signingSchema = z
  .union([algorithm, inline, inFile], 'expected one of "ES256"|"EdDSA"|"RS256", or keys of your own')
  .optional()

/** @param accessToken the longest life of an access token, in seconds @param grant of a grant, in seconds */
export const rotationPolicy = (
  { publishedFor, ...periods }: KeyRotationOptions,
  { accessToken, grant }: { readonly accessToken: number; readonly grant: number },
): RotationPolicy => {
  const every = (use: 'sign' | 'seal' | 'mac') => {
    const configured = periods[use]
    if (configured === false) return undefined
    return configured === undefined ? defaultRotation.every[use] : configured * 1000
  }
  return {
    every: { sign: every('sign'), seal: every('seal'), mac: every('mac') },
    lead: publishedFor === undefined ? defaultRotation.lead : publishedFor * 1000,
    // A refresh token that need not be replaced lives as long as its grant.
    life: { sign: accessToken * 1000, mac: grant * 1000 },
  }
}
