/** Keys of the operator's own to sign access tokens with: ES256 (P-256), EdDSA (Ed25519) or RS256 (2048 bits or more). */
export type SigningKeys =
  | {
      /** A JWK, a JWK Set, or the JSON of one. The first key signs, and must be private; the others are made known, for a change of keys. */
      readonly keys: string | object
    }
  | {
      /** A file with the JSON of one. Read at start. */
      readonly file: string
    }
