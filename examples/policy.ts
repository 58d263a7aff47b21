import type { AccessPolicy } from 'countersign'

const protectedFolders = ['payroll', 'legal']

/** Beside `scopes` in a resource's options: who may call, read and see what. */
export const policy: AccessPolicy = {
  implies: { 'notes:write': ['notes:read'] },
  tools: {
    whoami: [],
    'notes_*': ['notes:read'],
    notes_add: { scopes: ['notes:write'], arguments: { visibility: ['private', 'team'] } },
    notes_purge: { scopes: ['notes:write'], groups: ['admins'], kind: 'user', actor: false },
    notes_move: (token, call) =>
      token.scopes.includes('notes:write') && !protectedFolders.includes(String(call.arguments?.folder)),
  },
  resources: { 'notes://{id}': ['notes:read'] },
  prompts: { '*': { claims: { email_verified: true } } },
  unlisted: 'deny',
}
