import { html } from 'hono/html'
import type {
  AccountPage,
  AllowedResource,
  ConnectedApp,
  Connection,
  PageForm,
} from '../../authorization-server/pages.ts'
import { resourceName } from './consent.ts'
import { accountName, from, hidden, type Look, layout, quotedName } from './layout.ts'
import { type Markup, nothing } from './markup.ts'
import { badge } from './who-asks.ts'

export const accountTemplate = (look: Look, page: AccountPage): Markup =>
  layout(
    look,
    look.text('account.title'),
    html`<h1>${look.say('account.title')}</h1>
<p class="lead">${look.say('person.as', { account: accountName(look, page.account) })}</p>
${notice(look, page)}
${page.apps.length === 0 ? html`<p>${look.say('account.none')}</p>` : html`<ul class="apps">${page.apps.map((app) => connectedApp(look, page, app))}</ul>`}
${signIns(look, page)}
${signOut(look, page)}`,
  )

const notice = (look: Look, { notice }: AccountPage): Markup => {
  if (!notice) return nothing
  const good = ['disconnected', 'connection_ended', 'added', 'removed'].includes(notice)
  return html`<p class="note${good ? ' good' : ' bad'}" role="${good ? 'status' : 'alert'}">${look.say(`account.notice.${notice}`)}</p>`
}

const connectedApp = (look: Look, page: AccountPage, app: ConnectedApp): Markup =>
  html`<li class="panel"><h2 class="who">${quotedName(look, app.client)} ${badge(look, app.client)}</h2>
${app.resources.map((resource) => allowed(look, resource))}
<p class="quiet">${times(look, page, app)}</p>
${connections(look, page, app)}
<details><summary>${look.say('account.disconnect')}</summary>
<p class="quiet">${look.say('account.disconnect.what', { client: quotedName(look, app.client) })}</p>
<form method="post" action="${page.form.action}">${hidden(page.form)}<input type="hidden" name="client" value="${app.clientId}">
<button class="danger" name="decision" value="disconnect"><span>${look.say('account.disconnect.button', { client: quotedName(look, app.client) })}</span></button></form></details></li>`

const allowed = (look: Look, resource: AllowedResource): Markup => {
  const name = resourceName(look, resource)
  if (resource.descriptions.length === 0) return html`<p>${look.say('account.may_use', { resource: name })}</p>`
  return html`<p>${look.say('account.may', { resource: name })}</p>
<ul class="plain-list">${resource.descriptions.map((description) => html`<li>${look.host(description)}</li>`)}</ul>`
}

const times = (look: Look, { now }: AccountPage, { since, usedAt, connections }: ConnectedApp): Markup => {
  if (usedAt === undefined) return look.say('account.remembered', { date: date(look, since) })
  const [only, ...more] = connections
  const times = look.say('account.times', { date: date(look, since), ago: ago(look, usedAt, now) })
  return more.length > 0 || only === undefined ? times : html`${where(look, only)} ${times}`
}

/** One line each where there are several: a device, a browser, or the same app connected again. */
const connections = (look: Look, { now, form }: AccountPage, { connections }: ConnectedApp): Markup => {
  if (connections.length < 2) return nothing
  const shown = connections.slice(0, mostConnections)
  return html`<details><summary>${look.say('account.connections', { count: look.number(connections.length) })}</summary>
<ul class="plain-list quiet">${shown.map(
    (each) =>
      html`<li><span id="${each.id}">${where(look, each)} ${look.say('account.times', { date: date(look, each.since), ago: ago(look, each.usedAt, now) })}</span>
<form method="post" action="${form.action}">${hidden(form)}<input type="hidden" name="grant" value="${each.id}">
<button class="plain" name="decision" value="end_connection" aria-describedby="${each.id}">${look.say('account.connections.end')}</button></form></li>`,
  )}</ul>
<p class="quiet">${look.say('account.connections.what')}</p></details>`
}

const mostConnections = 50

const where = (look: Look, { by, redirectHost, redirectKind }: Connection): Markup => {
  if (redirectHost === undefined) {
    return look.say(by === 'assertion' ? 'account.by_organisation' : 'account.through_another')
  }
  const host = from(redirectHost)
  if (redirectKind === 'https') return look.say('account.at', { host })
  return redirectKind === 'loopback'
    ? look.say('account.on_computer', { host })
    : look.say('account.opened_by', { host })
}

const date = (look: Look, at: number): Markup =>
  html`<time datetime="${new Date(at).toISOString()}">${look.date(at)}</time>`

const ago = (look: Look, at: number, now: number): Markup =>
  html`<time datetime="${new Date(at).toISOString()}">${look.ago(at, now)}</time>`

const signIns = (look: Look, { identities, addable, form }: AccountPage): Markup =>
  identities.length < 2 && addable.length === 0
    ? nothing
    : html`<h2>${look.say('account.sign_ins')}</h2>
<ul>${identities.map(
        ({ id, provider, current }) =>
          html`<li>${look.host(provider)}${current ? html` <small>${look.say('account.sign_ins.current')}</small>` : nothing}${current ? nothing : removal(look, form, id, provider)}</li>`,
      )}</ul>
${addable.map(
  ({
    provider,
    name,
  }) => html`<form method="post" action="${form.action}">${hidden(form)}<input type="hidden" name="provider" value="${provider}">
<button name="decision" value="add"><span>${look.say('account.add', { provider: look.host(name) })}</span></button></form>`,
)}`

const removal = (look: Look, form: PageForm, id: string, provider: string): Markup =>
  html`<details><summary>${look.say('account.remove')}</summary>
<p class="quiet">${look.say('account.remove.what', { provider: look.host(provider) })}</p>
<form method="post" action="${form.action}">${hidden(form)}<input type="hidden" name="identity" value="${id}">
<button class="danger" name="decision" value="remove"><span>${look.say('account.remove.button', { provider: look.host(provider) })}</span></button></form></details>`

const signOut = (look: Look, { signedInHere, form }: AccountPage): Markup =>
  signedInHere
    ? html`<h2>${look.say('account.session')}</h2>
<form method="post" action="${form.action}">${hidden(form)}
<div class="actions flat"><button name="decision" value="sign_out">${look.say('account.sign_out')}</button>
<button name="decision" value="sign_out_everywhere">${look.say('account.sign_out_everywhere')}</button></div></form>
<p class="quiet after">${look.say('account.sign_out.what')}</p>`
    : nothing
