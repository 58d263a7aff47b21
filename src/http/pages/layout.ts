import { html } from 'hono/html'
import type { AskingClient, PageForm, ShownAccount } from '../../authorization-server/pages.ts'
import type { NamedBranding } from '../branding.ts'
import { directionOf, type Language } from './language.ts'
import { type Markup, nothing } from './markup.ts'
import { foreign } from './text.ts'

/** How a page looks, and what language it speaks. */
export interface Look extends Language {
  readonly branding: NamedBranding
  readonly style: Markup
  /** The host's own words, in the page's language where the host gave them. */
  host(text: string): Markup
}

/** The frame of every page. */
export const layout = (look: Look, title: string, content: Markup): Markup => html`<!doctype html>
<html lang="${look.tag}" dir="${directionOf(look.tag)}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${title} · ${foreign(look.branding.name)}</title>
<style>${look.style}</style>
</head>
<body>
<main>
<div class="brand">${look.branding.logo === undefined ? nothing : html`<img src="${look.branding.logo}" alt="">`}${look.host(look.branding.name)}</div>
${content}
</main>
</body>
</html>
`

/** The host's own words: in its own language, unless it gave them in the page's. */
export const hostText = ({ lang, languages = {} }: NamedBranding, tag: string, text: string, longest = 300): Markup => {
  const translated = languages[tag]?.texts?.[text]
  const language = translated === undefined ? lang : tag
  const shown = foreign(translated ?? text, longest)
  return language === undefined || language === tag
    ? html`<bdi>${shown}</bdi>`
    : html`<bdi lang="${language}">${shown}</bdi>`
}

export const hidden = ({ interaction, csrf, shown }: PageForm): Markup =>
  html`${interaction === undefined ? nothing : html`<input type="hidden" name="interaction" value="${interaction}">`}<input type="hidden" name="csrf" value="${csrf}">${
    shown === undefined ? nothing : html`<input type="hidden" name="shown" value="${shown}">`
  }`

export const clientName = (look: Look, client: Pick<AskingClient, 'name'> | undefined): string =>
  foreign(client?.name ?? '', 60) || look.text('client.nameless')

export const quotedName = (look: Look, client: Pick<AskingClient, 'name'>): Markup =>
  html`<bdi>${clientName(look, client)}</bdi>`

export const shortName = (look: Look, account: ShownAccount): Markup =>
  html`<bdi>${namesOf(account)[0] ?? look.text('person.unnamed.title')}</bdi>`

/** How a person recognises their account; the most telling first. */
export const accountName = (look: Look, account: ShownAccount): Markup => {
  const [first, second] = namesOf(account)
  if (first === undefined) return look.say('person.unnamed')
  return html`<strong><bdi>${first}</bdi></strong>${second === undefined || second === first ? nothing : html` (<bdi>${second}</bdi>)`}`
}

const namesOf = ({ name, email, username }: ShownAccount): readonly string[] =>
  [name, email, username].map((text) => foreign(text ?? '')).filter((text) => text !== '')

/** An address that tells where something comes from or goes to. */
export const from = (host: string): Markup => html`<span class="from">${foreign(host, 120)}</span>`
