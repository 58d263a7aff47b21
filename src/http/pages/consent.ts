import { html } from 'hono/html'
import type { AskedResource, AskingClient, ConsentPage, OfferedScope } from '../../authorization-server/pages.ts'
import type { NamedBranding } from '../branding.ts'
import {
  accountName,
  clientName,
  hidden,
  hostText,
  type Look,
  layout,
  type Markup,
  nothing,
  quotedName,
} from './layout.ts'
import { foreign } from './text.ts'

export const consentTemplate = (look: Look, page: ConsentPage): Markup => {
  const { branding } = look
  return layout(
    look,
    `Allow ${clientName(page.client)}?`,
    html`<h1>Allow ${quotedName(page.client)} to use ${resourceName(branding, page.resource)}?</h1>
<p class="lead quiet">${address(page.resource.identifier)}</p>
${whoAsks(page.client)}
<form method="post" action="${page.form.action}" id="decide">
${hidden(page.form)}
${page.nothingTicked ? html`<p class="note bad" role="alert">Nothing is ticked. Tick at least one, or choose “Decline”.</p>` : nothing}
${page.scopes.length === 0 ? nothing : html`<fieldset><legend>It will be able to</legend>${page.scopes.map((scope) => checkbox(branding, scope))}</fieldset>`}
</form>
${whoAllows(page)}
<div class="actions">
<button class="primary" form="decide" name="decision" value="approve">Allow</button>
<button form="decide" name="decision" value="deny">Decline</button>
</div>`,
  )
}

export const resourceName = (branding: NamedBranding, { name }: AskedResource): Markup =>
  hostText(branding, name ?? branding.name)

const address = (text: string): Markup => html`<span class="address">${foreign(text, 200)}</span>`

/** A name is only what a client says of itself: what can be relied on is where its description was read, and where the answer goes. */
const whoAsks = (client: AskingClient): Markup => {
  const host = html`<span class="from">${foreign(client.redirectHost, 120)}</span>`
  if (client.redirectKind === 'https') {
    return html`<div class="panel"><p class="who">${quotedName(client)} ${badge(client)}</p>
<p class="quiet">You will be sent on to ${host}.${client.verified ? nothing : html` Nobody has checked the name: go by the address${client.publishedBy ? html`es` : nothing}.`}</p></div>`
  }
  const how =
    client.redirectKind === 'loopback'
      ? html`It waits for the answer on this computer (${host}).`
      : html`It is opened by ${host}.`
  return html`<div class="panel"><p class="who">An app on this computer that calls itself “${quotedName(client)}” ${badge(client)}</p>
<p class="quiet">${how} Any program on this computer can say so: go on only if you have just started this yourself.</p></div>
${client.publishedBy?.onlyLocal ? html`<p class="note">${domainOf(client.publishedBy)} publishes an app that works only on the computer of its user. Nothing shows that it is really this one that asks.</p>` : nothing}`
}

const badge = ({ verified, publishedBy }: AskingClient): Markup => {
  if (verified) return html`<span class="badge known">Known to this server</span>`
  if (publishedBy) return html`<span class="badge known">Published by ${domainOf(publishedBy)}</span>`
  return html`<span class="badge">Unverified</span>`
}

const domainOf = ({ domain }: NonNullable<AskingClient['publishedBy']>): Markup =>
  html`<bdi>${foreign(domain, 120)}</bdi>`

const checkbox = (branding: NamedBranding, { scope, description, ticked, before }: OfferedScope): Markup =>
  html`<label class="scope"><input type="checkbox" name="scope" value="${scope}"${ticked ? html` checked` : nothing}><span>${hostText(branding, description)}${before ? html`<small>Allowed before</small>` : nothing}</span></label>`

const whoAllows = ({ account, form, providers, signInFollows }: ConsentPage): Markup => {
  if (!account)
    return html`<p class="quiet">Next you sign in${providers.length === 1 ? html` with ${foreign(providers[0] ?? '')}` : nothing}.</p>`
  return html`<div class="panel row"><p>As ${accountName(account)}${signInFollows ? html`<br><span class="quiet">You will be asked to sign in again.</span>` : nothing}</p>
<form method="post" action="${form.action}">${hidden(form)}<button class="plain" name="decision" value="switch">Not you?</button></form></div>`
}
