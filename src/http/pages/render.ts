import { html, raw } from 'hono/html'
import type { Page } from '../../authorization-server/pages.ts'
import type { NamedBranding } from '../branding.ts'
import { accountTemplate } from './account.ts'
import { consentTemplate } from './consent.ts'
import { continueTemplate } from './continue.ts'
import { chooseLanguage, createLanguage } from './language.ts'
import { hostText, type Look } from './layout.ts'
import type { Markup } from './markup.ts'
import { problemTemplate } from './problem.ts'
import { signInTemplate } from './sign-in.ts'

/** Makes a page's HTML of its data. `locales` are the languages that the person reads, best first. */
export const createRenderer = (
  branding: NamedBranding,
  style: string,
): ((page: Page, locales: readonly string[]) => string) => {
  const looks = new Map<string, Look>()
  for (const tag of new Set(['en', ...Object.keys(branding.languages ?? {})])) {
    looks.set(tag, lookOf(branding, style, tag))
  }
  const there = [...looks.keys()]
  const usual = looks.get(chooseLanguage(there, branding.lang === undefined ? [] : [branding.lang]) ?? 'en')
  return (page, locales) => {
    const look = looks.get(chooseLanguage(there, locales) ?? '') ?? usual
    if (!look) throw new TypeError('no language')
    return String(template(look, page))
  }
}

const lookOf = (branding: NamedBranding, style: string, tag: string): Look => ({
  ...createLanguage(tag, branding.languages?.[tag]?.words),
  branding,
  style: html`${raw(style)}`,
  host: (text) => hostText(branding, tag, text),
})

const template = (look: Look, page: Page): Markup => {
  switch (page.kind) {
    case 'consent':
      return consentTemplate(look, page)
    case 'sign-in':
      return signInTemplate(look, page)
    case 'continue':
      return continueTemplate(look, page)
    case 'account':
      return accountTemplate(look, page)
    case 'problem':
      return problemTemplate(look, page)
  }
}
