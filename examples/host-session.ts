import { countersign } from 'countersign'
import { hostSession } from 'countersign/upstream/host'

interface User {
  id: string
  name: string
  email: string
}

/** For a site that has users already: its own session says who signs in. */
export const authWithOwnUsers = (url: string, userOf: (request: Request) => Promise<User | undefined>) =>
  countersign({
    url,
    upstream: hostSession(async (request, { returnTo }) => {
      const user = await userOf(request)
      if (!user) return Response.redirect(`${url}/login?next=${encodeURIComponent(returnTo)}`, 303)
      return { subject: user.id, claims: { name: user.name, email: user.email } }
    }),
    resources: { '/mcp': { scopes: { 'orders:read': 'See your orders' } } },
  })
