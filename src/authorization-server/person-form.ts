import { OAuthError } from '../oauth/errors.ts'
import { readForm } from '../oauth/parameters.ts'
import type { ServerContext } from './context.ts'
import { PageProblem } from './pages.ts'
import { refused } from './refusal.ts'

const maximumBytes = 65_536

/**
 * Reads a form that a person sent, after checking that it came from a page of ours. The CSRF token is checked with the interaction.
 * @throws PageProblem
 */
export const readPersonForm = async (server: ServerContext, request: Request): Promise<URLSearchParams> => {
  checkOrigin(server, request)
  try {
    const form = await readForm(request, maximumBytes)
    for (const field of [
      'interaction',
      'csrf',
      'decision',
      'provider',
      'username',
      'password',
      'email',
      'client',
      'grant',
      'identity',
    ]) {
      if (form.getAll(field).length > 1) throw new OAuthError('invalid_request', `${field} was sent more than once`)
    }
    return form
  } catch (error) {
    if (!(error instanceof OAuthError) || error.status >= 500) throw error
    refused(server, `form: ${error.reason}`)
    throw new PageProblem('form_refused', error.status)
  }
}

/** Browsers say where a request comes from; what says nothing (an old browser) still needs cookie and token. */
const checkOrigin = (server: ServerContext, request: Request): void => {
  const site = request.headers.get('sec-fetch-site')
  const origin = request.headers.get('origin')
  // `none` is the person's own doing: a form that a restored tab sends again.
  const fromHere = site === null || site === 'same-origin' || site === 'none'
  // `null` is what our own forms send where something in front of us sets `Referrer-Policy: no-referrer`; then the browser's word is needed.
  const hidden = origin === 'null' && site === 'same-origin'
  const ours = origin === null || hidden || origin === new URL(server.issuer).origin
  if (fromHere && ours) return
  refused(server, 'form: it came from another site')
  throw new PageProblem('form_refused', 403)
}
