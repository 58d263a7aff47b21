import type { Page, Reply } from '../authorization-server/pages.ts'
import { sha256 } from '../crypto/hash.ts'
import { type Branding, imageSource, type NamedBranding } from './branding.ts'
import { createRenderer } from './pages/render.ts'
import { styleSheet } from './pages/style.ts'

/** Headers of every answer that a person's browser gets. */
const personHeaders: Readonly<Record<string, string>> = {
  'Cache-Control': 'no-store',
  // Not `no-referrer`: with it browsers send `Origin: null` with our own forms, and the check of where a form came from would be blind.
  'Referrer-Policy': 'same-origin',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'X-Robots-Tag': 'noindex',
}

/** Makes the answers of the person's endpoints. */
export const createPageResponder = (
  branding: NamedBranding,
): ((reply: Reply, locales: readonly string[]) => Response) => {
  const style = styleSheet(branding)
  const render = createRenderer(branding, style)
  const policy = contentSecurityPolicy(branding, style)
  return (reply, locales) => {
    switch (reply.kind) {
      case 'page':
        return withCookies(
          new Response(render(reply.page, [...localesOf(reply.page), ...locales]), {
            status: statusOf(reply.page),
            headers: {
              ...personHeaders,
              ...retryAfter(reply.page),
              'Content-Type': 'text/html; charset=utf-8',
              'Content-Security-Policy': hasForm(reply.page) ? policy : `${policy}; form-action 'none'`,
            },
          }),
          reply.cookies,
        )
      case 'redirect':
        // 303: whatever the request was, the next one is a GET, and a password is never sent on.
        return withCookies(
          new Response(null, { status: 303, headers: { ...personHeaders, Location: reply.location } }),
          reply.cookies,
        )
      case 'response':
        return withCookies(new Response(reply.response.body, reply.response), reply.cookies)
    }
  }
}

const statusOf = (page: Page): number => {
  if (page.kind === 'problem') return page.status
  if (page.kind === 'sign-in' && page.refused) return page.refused.reason === 'rate_limited' ? 429 : 400
  return page.kind === 'consent' && page.nothingTicked ? 400 : 200
}

const retryAfter = (page: Page): Record<string, string> => {
  const seconds = page.kind === 'problem' ? page.retryAfter : undefined
  const waited = page.kind === 'sign-in' && page.refused?.reason === 'rate_limited' ? page.refused.retryAfter : seconds
  return waited === undefined ? {} : { 'Retry-After': String(waited) }
}

const withCookies = (response: Response, cookies: readonly string[] = []): Response => {
  for (const cookie of cookies) response.headers.append('Set-Cookie', cookie)
  return response
}

/**
 * No script, nothing from elsewhere but the host's logo, in no frame.
 *
 * Pages with a form have no `form-action`. Chromium applies it to every redirect that follows the form, so it would have to name wherever the
 * client's redirect URI and the provider lead to in turn (a client's own second address, a provider's sign-in host), which nobody knows beforehand;
 * and it can't name `[::1]` at all. One that is not named means that the person presses the button and nothing happens.
 *
 * There is no `Cross-Origin-Opener-Policy` for the like reason: clients that open us in a popup wait for its message, and it would cut them off.
 */
const contentSecurityPolicy = (branding: Branding, style: string): string => {
  const image = imageSource(branding)
  return [
    "default-src 'none'",
    `style-src 'sha256-${Buffer.from(sha256(style)).toString('base64')}'`,
    ...(image === undefined ? [] : [`img-src ${image}`]),
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}

/** What the client said when the person came, where the page is of an interaction. */
const localesOf = (page: Page): readonly string[] =>
  (page.kind === 'problem' ? page.again?.form : page.form)?.locales ?? []

const hasForm = (page: Page): boolean => page.kind !== 'problem' || page.again !== undefined
