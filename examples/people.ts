import { countersign, type Store } from 'countersign'
import { localAccounts } from 'countersign/upstream/local'
import { openid } from 'countersign/upstream/openid'

/** Two ways to sign in, scopes of which one implies another, and pages that also speak German. */
export const authForPeople = (
  url: string,
  store: Store,
  acme: { issuer: string; clientId: string; clientSecret: string },
) =>
  countersign({
    url,
    store,
    upstream: [openid({ id: 'acme', name: 'Acme', ...acme }), localAccounts({ name: 'your account here' })],
    emailDomains: { 'acme.example': 'acme' },
    branding: {
      name: 'Notes',
      languages: {
        de: {
          words: {
            'consent.heading': '{client} die Nutzung von {resource} erlauben?',
            'consent.allow': 'Erlauben',
            'consent.decline': 'Ablehnen',
          },
          texts: { 'Read your notes': 'Deine Notizen lesen', 'your account here': 'deinem Konto hier' },
        },
      },
    },
    resources: {
      '/mcp': {
        name: 'Notes',
        scopes: { 'notes:read': 'Read your notes', 'notes:write': 'Add and change your notes' },
        implies: { 'notes:write': ['notes:read'] },
        defaultScopes: ['notes:read'],
      },
    },
  })
