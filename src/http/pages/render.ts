import { html, raw } from 'hono/html'
import type { Page } from '../../authorization-server/pages.ts'
import type { NamedBranding } from '../branding.ts'
import { consentTemplate } from './consent.ts'
import type { Look, Markup } from './layout.ts'
import { problemTemplate } from './problem.ts'
import { continueTemplate, signInTemplate } from './sign-in.ts'

/** Makes a page's HTML of its data. */
export const createRenderer = (branding: NamedBranding, style: string): ((page: Page) => string) => {
  const look: Look = { branding, style: html`${raw(style)}` }
  return (page) => String(template(look, page))
}

const template = (look: Look, page: Page): Markup => {
  switch (page.kind) {
    case 'consent':
      return consentTemplate(look, page)
    case 'sign-in':
      return signInTemplate(look, page)
    case 'continue':
      return continueTemplate(look, page)
    case 'problem':
      return problemTemplate(look, page)
  }
}
