/**
 * Private-use URI schemes without a dot that known MCP clients redirect to. RFC 8252 §7.1 asks for a dot (a reversed domain name); these
 * came before anyone asked. `cursor` and the `vscode` family are seen in registrations and in the editors' own lists of callback schemes,
 * the others are editors and assistants built the same way. Most others use loopback. What is not here, configuration adds.
 */
export const knownPrivateUseSchemes: readonly string[] = [
  'cursor',
  'vscode',
  'vscode-insiders',
  'vscodium',
  'windsurf',
  'claude',
]

/** Schemes that a browser or an operating system acts on itself: never a redirect, whatever configuration says. */
const neverRedirect =
  /^(about|blob|data|facetime.*|file|filesystem|ftps?|geo|https?|intent|itms.*|jar|javascript|ldaps?|livescript|mailto|mhtml|mms|ms-.*|nfs|res|resource|rtsp|search.*|sftp|shell|sips?|smb|sms|ssh|tel|telnet|urn|vbscript|view-source|wss?|chrome.*|moz-.*|devtools|edge)$/

/** Whether configuration may name this as a scheme of a native client: lower case, a scheme by RFC 3986 §3.1, and not one of the platform's. */
export const mayBePrivateUseScheme = (scheme: string): boolean =>
  /^[a-z][a-z0-9+.-]*$/.test(scheme) && !neverRedirect.test(scheme)

/** A reversed domain name, as RFC 8252 §7.1 asks. */
export const isReverseDomainScheme = (scheme: string): boolean => /^[a-z][a-z0-9-]*(\.[a-z0-9-]+)+$/.test(scheme)
