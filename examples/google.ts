import { countersign, requireUser } from 'countersign'
import { postgres } from 'countersign/store/postgres'
import { google } from 'countersign/upstream/google'
import { z } from 'zod'

/** People sign in with Google; clients never see Google, and Google never sees them. */
export const authWithGoogle = (settings: {
  url: string
  secret: string
  database: string
  clientId: string
  clientSecret: string
}) =>
  countersign({
    url: settings.url,
    secret: settings.secret,
    store: postgres(settings.database),
    upstream: google({
      clientId: settings.clientId,
      clientSecret: settings.clientSecret,
      claims: z.looseObject({ email: z.email(), hd: z.literal('example.com') }),
    }),
    tokenClaims: ['email'],
    resources: { '/mcp': { scopes: { 'calendar:read': 'See your calendar' } } },
  })

/** A handler's view: typed by the schema above, and a token for Google's own interfaces. */
export const askGoogle = async (auth: ReturnType<typeof authWithGoogle>) => {
  const { upstream } = requireUser(auth)
  if (!upstream) throw new Error('this token has no upstream identity')
  return { email: upstream.claims.email, headers: { Authorization: `Bearer ${await upstream.accessToken()}` } }
}
