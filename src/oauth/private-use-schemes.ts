/**
 * Private-use URI schemes without a dot that known MCP clients redirect to. RFC 8252 §7.1 asks for a dot (a reversed domain name);
 * these came before anyone asked. A short list: what is not here, configuration adds.
 */
export const knownPrivateUseSchemes: readonly string[] = [
  'cursor',
  'vscode',
  'vscode-insiders',
  'vscodium',
  'windsurf',
  'kiro',
  'zed',
  'claude',
]

/** Schemes that a browser or an operating system acts on itself: never a redirect, whatever configuration says. */
const neverRedirectSchemes = new Set([
  'about',
  'blob',
  'chrome',
  'chrome-extension',
  'data',
  'dav',
  'devtools',
  'edge',
  'facetime',
  'feed',
  'file',
  'filesystem',
  'ftp',
  'ftps',
  'geo',
  'gopher',
  'http',
  'https',
  'im',
  'intent',
  'itms-services',
  'jar',
  'javascript',
  'ldap',
  'ldaps',
  'livescript',
  'mailto',
  'mhtml',
  'mocha',
  'moz-extension',
  'ms-appinstaller',
  'ms-msdt',
  'ms-officecmd',
  'ms-settings',
  'nfs',
  'res',
  'resource',
  'rtsp',
  'search',
  'search-ms',
  'sftp',
  'shell',
  'sip',
  'sips',
  'sms',
  'smb',
  'ssh',
  'steam',
  'tel',
  'telnet',
  'urn',
  'vbscript',
  'view-source',
  'webcal',
  'wpad',
  'ws',
  'wss',
  'x-apple-helpbasic',
])

/** Whether configuration may name this as a scheme of a native client: lower case, a scheme by RFC 3986 §3.1, and not one of the platform's. */
export const mayBePrivateUseScheme = (scheme: string): boolean =>
  /^[a-z][a-z0-9+.-]*$/.test(scheme) && !neverRedirectSchemes.has(scheme)

/** A reversed domain name, as RFC 8252 §7.1 asks. */
export const isReverseDomainScheme = (scheme: string): boolean => /^[a-z][a-z0-9-]*(\.[a-z0-9-]+)+$/.test(scheme)
