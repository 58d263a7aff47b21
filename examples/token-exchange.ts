import { type Countersign, countersign, type Options, requireUser, type UpstreamClaims } from 'countersign'

/** One issuer for two servers, and for an agent that may act for the people of one application. */
export const authForAgenda = (
  options: Omit<Options<UpstreamClaims>, 'resources' | 'clients'>,
  calendar: string,
  secrets: { notes: string; calendar: string; agent: string; desk: string },
) =>
  countersign({
    ...options,
    resources: {
      '/notes': { name: 'Notes', scopes: { 'notes:read': 'Read your notes', 'notes:write': 'Change your notes' } },
      [calendar]: {
        name: 'Calendar',
        scopes: { 'calendar:read': 'See your calendar' },
        lifetimes: { accessToken: 120 },
      },
    },
    clients: [
      // The notes server: callers' tokens are addressed to it, and it may see the calendar of whoever calls it.
      {
        id: 'notes-server',
        secret: secrets.notes,
        exchange: { serves: ['/notes'], to: { [calendar]: ['calendar:read'] } },
      },
      // The calendar asks what tokens say: so it hears of revocations.
      { id: 'calendar-server', secret: secrets.calendar, introspects: [calendar] },
      // An agent without rights of its own, and the application whose people it may act for.
      { id: 'agent', secret: secrets.agent, exchange: {} },
      {
        id: 'desk',
        name: 'Desk',
        secret: secrets.desk,
        redirectUris: ['https://desk.example/callback'],
        mayAct: 'agent',
      },
    ],
  })

/** Exchanges a person's token for a narrower one, or for one for another resource. */
export const exchange = async (
  issuer: string,
  client: { id: string; secret: string },
  token: string,
  wanted: { resource?: string; scope?: string },
): Promise<string> => {
  const response = await fetch(`${issuer}/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      client_id: client.id,
      client_secret: client.secret,
      ...wanted,
    }),
  })
  if (!response.ok) throw new Error(`the token was not exchanged: ${response.status}`)
  const { access_token } = (await response.json()) as { access_token: string }
  return access_token
}

/** The notes server's handler: what it asks of the calendar, it asks for whoever calls. */
export const notesHandler = (auth: Countersign, calendar: string, secret: string) =>
  auth.gate('/notes', async () => {
    const token = await exchange(auth.issuer, { id: 'notes-server', secret }, requireUser(auth).token, {
      resource: calendar,
    })
    return fetch(calendar, { method: 'POST', headers: { Authorization: `Bearer ${token}` } })
  })
