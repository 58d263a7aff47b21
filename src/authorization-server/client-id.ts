import { base64url } from '../crypto/bytes.ts'
import type { Random } from '../events/random.ts'

/** Ids with it are ours to give, so that no configured one can be taken for another. */
export const clientIdPrefix = 'cs_cl_'

/** 128 random bits. */
export const newClientId = (random: Random): string => `${clientIdPrefix}${base64url(random.bytes(16))}`
