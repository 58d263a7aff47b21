import { OAuthError } from '../oauth/errors.ts'
import { readForm } from '../oauth/parameters.ts'
import type { ServerContext } from './context.ts'
import { PageProblem, type Reply, redirect } from './pages.ts'
import { callbackOf } from './provider-addresses.ts'
import { refused } from './refusal.ts'

const names = ['code', 'state', 'iss', 'error', 'error_description', 'user']
const maximumBytes = 16_384
// What fits into a URL everywhere. What is longer is no provider's answer.
const maximumLength = 6_000

/**
 * A provider's answer that comes as a form from its site: without our cookies, since those are Lax. It is sent on as the link that other
 * providers send, which brings them. Nothing is decided here.
 * @see OAuth 2.0 Form Post Response Mode
 */
export const postedCallback = async (server: ServerContext, request: Request, providerId: string): Promise<Reply> => {
  const open = server.providers.find(({ id }) => id === providerId)?.open
  if (open?.kind !== 'redirect' || !open.postsAnswer) throw new PageProblem('method_refused', 405)
  const query = new URLSearchParams()
  try {
    const form = await readForm(request, maximumBytes)
    for (const name of names) for (const value of form.getAll(name)) query.append(name, value)
  } catch (error) {
    if (!(error instanceof OAuthError) || error.status >= 500) throw error
    refused(server, `callback: ${error.reason}`)
    throw new PageProblem('form_refused', error.status)
  }
  const location = `${callbackOf(server, providerId)}?${query}`
  if (location.length > maximumLength) throw new PageProblem('form_refused', 413)
  return redirect(location)
}
