/** Of an introspection answer that is a signed JWT; without `application/` its `typ`. @see RFC 9701 §5 */
export const signedIntrospectionType = 'token-introspection+jwt'
export const signedIntrospectionMediaType = `application/${signedIntrospectionType}`
