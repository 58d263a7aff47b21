import type { AskingClient, OfferedScope, Page, Problem } from '../../src/authorization-server/pages.ts'
import { english } from '../../src/http/pages/english.ts'

const form = { action: 'https://auth.example.com/form', interaction: 'i', csrf: 'c' }

const client: AskingClient = {
  name: 'Claude',
  verified: false,
  redirectKind: 'https',
  redirectHost: 'claude.ai',
  publishedBy: { domain: 'claude.ai', onlyLocal: false },
}
const local: AskingClient = { name: 'Tool', verified: false, redirectKind: 'loopback', redirectHost: '127.0.0.1' }
const privateUse: AskingClient = { ...local, redirectKind: 'private', redirectHost: 'cursor://app' }
const onlyLocal: AskingClient = { ...local, publishedBy: { domain: 'editor.example', onlyLocal: true } }
const unverified: AskingClient = { verified: false, redirectKind: 'https', redirectHost: 'app.example' }
const known: AskingClient = { ...unverified, name: 'Back office', verified: true }

const read: OfferedScope = { value: 'r', scope: 'r', description: 'Read notes', ticked: true, before: true }
const write: OfferedScope = { value: 'w', scope: 'w', description: 'Change notes', ticked: true, before: false }
const notes = {
  name: 'Notes',
  identifier: 'https://auth.example.com/mcp',
  scopes: [write, { ...read, comesWith: 'Change notes' }],
}
const bare = { identifier: 'https://auth.example.com/other', scopes: [] }
const account = { name: 'Alice', email: 'alice@example.org', provider: 'Acme' }

const now = Date.UTC(2026, 10, 22, 5)
const day = 86_400_000

const consent = {
  kind: 'consent',
  form,
  signInFollows: false,
  nothingTicked: false,
  accountPage: 'https://auth.example.com/authorize/account',
} as const
const signIn = { kind: 'sign-in', form, purpose: { kind: 'client', client, resources: [notes] } } as const
const others = [
  { provider: 'acme', name: 'Acme' },
  { provider: 'other', name: 'Other' },
]
const password = { provider: 'local', name: 'x', username: '' }

const problems = Object.keys(english).flatMap((key) => /^problem\.(\w+)\.title$/.exec(key)?.[1] ?? []) as Problem[]

/** One of each page that there is, and of each thing that one may show: for looking at them, and for what is true of all. */
export const samplePages: Readonly<Record<string, Page>> = {
  consent: { ...consent, client, resources: [notes], account, providers: ['Acme'], signInFollows: true },
  'consent: several resources': {
    ...consent,
    client: onlyLocal,
    resources: [notes, bare],
    providers: ['Acme', 'Other'],
  },
  'consent: on this computer': {
    ...consent,
    client: local,
    resources: [notes],
    providers: ['Acme'],
    nothingTicked: true,
  },
  'consent: opened by an app': {
    ...consent,
    client: privateUse,
    resources: [bare],
    account: { provider: 'Acme' },
    providers: [],
  },
  'consent: without a name': { ...consent, client: unverified, resources: [bare], providers: ['Acme'] },
  'consent: known': { ...consent, client: known, resources: [bare], providers: ['Acme'] },
  'sign-in': { ...signIn, password, byEmail: true, others },
  'sign-in: wrong': { ...signIn, password, others: [], refused: { reason: 'credentials' } },
  'sign-in: too many': { ...signIn, password, others: [], refused: { reason: 'rate_limited', retryAfter: 300 } },
  'sign-in: for the account page': {
    ...signIn,
    purpose: { kind: 'visit' },
    byEmail: true,
    others,
    refused: { reason: 'email' },
  },
  'sign-in: again': { ...signIn, purpose: { kind: 'confirm' }, others: others.slice(1) },
  'sign-in: as another identity': { ...signIn, purpose: { kind: 'add' }, others: others.slice(1) },
  continue: { kind: 'continue', form, client, resources: [notes], signedIn: account },
  'continue: without scopes': { kind: 'continue', form, client, resources: [bare], signedIn: { provider: 'Acme' } },
  account: {
    kind: 'account',
    form: { action: form.action, csrf: form.csrf },
    account,
    identities: [
      { id: '1', provider: 'Acme', current: true },
      { id: '2', provider: 'Other', current: false },
    ],
    addable: [{ provider: 'third', name: 'Third' }],
    signedInHere: true,
    now,
    apps: [
      {
        clientId: '1',
        client,
        resources: [
          { ...notes, descriptions: ['Read notes', 'Change notes'] },
          { ...bare, descriptions: [] },
        ],
        since: now - 90 * day,
        usedAt: now - 60_000,
        connections: [
          {
            id: 'grant-1',
            by: 'authorization',
            redirectHost: 'claude.ai',
            redirectKind: 'https',
            since: now - 90 * day,
            usedAt: now - 60_000,
          },
        ],
      },
      {
        clientId: '2',
        client: local,
        resources: [{ ...notes, descriptions: ['Read notes'] }],
        since: now - 5 * day,
        usedAt: now - 2 * day,
        connections: [
          {
            id: 'grant-2',
            by: 'authorization',
            redirectHost: '127.0.0.1',
            redirectKind: 'loopback',
            since: now - 5 * day,
            usedAt: now - 2 * day,
          },
          {
            id: 'grant-3',
            by: 'authorization',
            redirectHost: 'cursor://app',
            redirectKind: 'private',
            since: now - 5 * day,
            usedAt: now - 3 * day,
          },
          { id: 'grant-4', by: 'exchange', since: now - 4 * day, usedAt: now - 4 * day },
          { id: 'grant-5', by: 'assertion', since: now - 4 * day, usedAt: now - 4 * day },
        ],
      },
      {
        clientId: '3',
        client: known,
        resources: [{ ...notes, descriptions: ['Read notes'] }],
        since: now - 400 * day,
        connections: [],
      },
    ],
  },
  ...Object.fromEntries(
    (
      [
        'disconnected',
        'connection_ended',
        'added',
        'removed',
        'already_yours',
        'of_another',
        'other_person',
        'not_proven',
        'outdated',
      ] as const
    ).map((notice) => [
      `account: ${notice}`,
      {
        kind: 'account',
        form,
        account,
        identities: [],
        addable: [],
        signedInHere: true,
        now,
        apps: [],
        notice,
      } satisfies Page,
    ]),
  ),
  ...Object.fromEntries(
    problems.map((problem) => [
      `problem: ${problem}`,
      {
        kind: 'problem',
        problem,
        status: 400,
        ...(/^sign_in|provider|attempt/.test(problem)
          ? { provider: 'Acme', again: { form, provider: 'acme', name: 'Acme' } }
          : {}),
        ...(problem === 'request_refused' ? { detail: 'scope', client, back: 'https://claude.ai/cb' } : {}),
        ...(problem === 'sign_in_claims' ? { detail: 'email' } : {}),
        ...(problem === 'sign_in_not_admitted' ? { detail: 'Read notes' } : {}),
        ...(problem === 'too_many_requests' ? { retryAfter: 480 } : {}),
      } satisfies Page,
    ]),
  ),
  'problem: without a provider’s name': { kind: 'problem', problem: 'sign_in_denied', status: 403 },
}
