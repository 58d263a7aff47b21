import { html } from 'hono/html'
import type { AskingClient, PageForm, ShownAccount } from '../../authorization-server/pages.ts'
import type { NamedBranding } from '../branding.ts'
import { foreign } from './text.ts'

/** Markup that is safe to stand in a page: made by `html`, which escapes whatever is put into it. */
export type Markup = ReturnType<typeof html>

export interface Look {
  readonly branding: NamedBranding
  readonly style: Markup
}

export const nothing: Markup = html``

/** The frame of every page. */
export const layout = ({ branding, style }: Look, title: string, content: Markup): Markup => html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${title} · ${foreign(branding.name)}</title>
<style>${style}</style>
</head>
<body>
<main>
<div class="brand">${branding.logo === undefined ? nothing : html`<img src="${branding.logo}" alt="">`}${hostText(branding, branding.name)}</div>
${content}
</main>
</body>
</html>
`

/** The host's own words, which may be of another language than ours. */
export const hostText = ({ lang }: NamedBranding, text: string): Markup =>
  lang === undefined ? html`<bdi>${foreign(text, 300)}</bdi>` : html`<bdi lang="${lang}">${foreign(text, 300)}</bdi>`

export const hidden = ({ interaction, csrf, shown }: PageForm): Markup =>
  html`<input type="hidden" name="interaction" value="${interaction}"><input type="hidden" name="csrf" value="${csrf}">${
    shown === undefined ? nothing : html`<input type="hidden" name="shown" value="${shown}">`
  }`

export const clientName = (client: AskingClient | undefined): string =>
  foreign(client?.name ?? '', 60) || 'An app without a name'

export const quotedName = (client: AskingClient): Markup => html`<bdi>${clientName(client)}</bdi>`

export const shortName = (account: ShownAccount): Markup => html`<bdi>${namesOf(account)[0] ?? 'this account'}</bdi>`

/** How a person recognises their account; the most telling first. */
export const accountName = (account: ShownAccount): Markup => {
  const [first, second] = namesOf(account)
  if (first === undefined) return html`your account`
  return html`<strong><bdi>${first}</bdi></strong>${second === undefined || second === first ? nothing : html` (<bdi>${second}</bdi>)`}`
}

const namesOf = ({ name, email, username }: ShownAccount): readonly string[] =>
  [name, email, username].map((text) => foreign(text ?? '')).filter((text) => text !== '')
