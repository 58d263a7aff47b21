import { html } from 'hono/html'
import type { AskedResource, ConsentPage, OfferedScope } from '../../authorization-server/pages.ts'
import { accountName, clientName, hidden, type Look, layout, quotedName } from './layout.ts'
import { type Markup, nothing } from './markup.ts'
import { foreign } from './text.ts'
import { whoAsks } from './who-asks.ts'

export const consentTemplate = (look: Look, page: ConsentPage): Markup =>
  layout(
    look,
    look.text('consent.title', { client: clientName(look, page.client) }),
    html`<h1>${look.say('consent.heading', { client: quotedName(look, page.client), resource: resourceNames(look, page.resources) })}</h1>
<p class="lead quiet">${page.resources.map(({ identifier }, index) => html`${index > 0 ? html`<br>` : nothing}${address(identifier)}`)}</p>
${whoAsks(look, page.client)}
<form method="post" action="${page.form.action}" id="decide">
${hidden(page.form)}
${page.nothingTicked ? html`<p class="note bad" role="alert">${look.say('consent.nothing')}</p>` : nothing}
${page.resources.map((resource) => offered(look, resource, page.resources.length > 1))}
</form>
${whoAllows(look, page)}
<div class="actions">
<button class="primary" form="decide" name="decision" value="approve">${look.say('consent.allow')}</button>
<button form="decide" name="decision" value="deny">${look.say('consent.decline')}</button>
</div>
<p class="quiet after">${look.say('consent.take_back', { page: html`<a href="${page.accountPage}" target="_blank" rel="noopener">${look.say('account.title')}</a>` })}</p>`,
  )

export const resourceName = (look: Look, { name }: Pick<AskedResource, 'name'>): Markup =>
  look.host(name ?? look.branding.name)

/** Joined as the page's language joins them. */
export const resourceNames = (look: Look, resources: readonly Pick<AskedResource, 'name'>[]): Markup => {
  const parts = new Intl.ListFormat(look.tag).formatToParts(resources.map((_, index) => String(index)))
  return html`${parts.map(({ type, value }) => (type === 'element' ? resourceName(look, resources[Number(value)] ?? {}) : value))}`
}

const offered = (look: Look, resource: AskedResource, oneOfMany: boolean): Markup =>
  resource.scopes.length === 0
    ? nothing
    : html`<fieldset><legend>${oneOfMany ? html`${resourceName(look, resource)}: ` : nothing}${look.say('consent.scopes')}</legend>${resource.scopes.map((scope) => checkbox(look, scope))}</fieldset>`

const address = (text: string): Markup => html`<span class="address">${foreign(text, 200)}</span>`

const checkbox = (look: Look, { value, description, comesWith, ticked, before }: OfferedScope): Markup =>
  html`<label class="scope"><input type="checkbox" name="scope" value="${value}"${ticked ? html` checked` : nothing}><span>${look.host(description)}${comesWith === undefined ? nothing : html`<small>${look.say('consent.comes_with', { scope: look.host(comesWith) })}</small>`}${before ? html`<small>${look.say('consent.before')}</small>` : nothing}</span></label>`

const whoAllows = (look: Look, { account, form, providers, signInFollows }: ConsentPage): Markup => {
  if (!account) {
    const [only, ...more] = providers
    const next =
      only === undefined || more.length > 0
        ? look.say('consent.next')
        : look.say('consent.next.provider', { provider: look.host(only) })
    return html`<p class="quiet">${next}</p>`
  }
  const as = look.say('person.as', { account: accountName(look, account) })
  return html`<div class="panel row"><p>${as}${signInFollows ? html`<br><span class="quiet">${look.say('consent.sign_in_again')}</span>` : nothing}</p>
<form method="post" action="${form.action}">${hidden(form)}<button class="plain" name="decision" value="switch">${look.say('consent.switch')}</button></form></div>`
}
