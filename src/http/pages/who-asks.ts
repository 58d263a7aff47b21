import { html } from 'hono/html'
import type { AskingClient } from '../../authorization-server/pages.ts'
import { from, type Look, quotedName } from './layout.ts'
import { type Markup, nothing } from './markup.ts'
import { foreign } from './text.ts'

/** A name is only what a client says of itself: what can be relied on is where its description was read, and where the answer goes. */
export const whoAsks = (look: Look, client: AskingClient): Markup => {
  const host = from(client.redirectHost)
  const name = quotedName(look, client)
  if (client.redirectKind === 'https') {
    const unchecked = client.publishedBy ? 'client.unchecked.published' : 'client.unchecked'
    return html`<div class="panel"><p class="who">${name} ${badge(look, client)}</p>
<p class="quiet">${look.say('client.sends', { host })}${client.verified ? nothing : html` ${look.say(unchecked)}`}</p></div>`
  }
  const how = client.redirectKind === 'loopback' ? 'client.local.waits' : 'client.local.opened'
  return html`<div class="panel"><p class="who">${look.say('client.local', { client: name })} ${badge(look, client)}</p>
<p class="quiet">${look.say(how, { host })} ${look.say('client.local.anyone')}</p></div>
${client.publishedBy?.onlyLocal ? html`<p class="note">${look.say('client.local.published', { domain: domainOf(client.publishedBy) })}</p>` : nothing}`
}

export const badge = (
  look: Look,
  { verified, publishedBy }: Pick<AskingClient, 'verified' | 'publishedBy'>,
): Markup => {
  if (verified) return html`<span class="badge known">${look.say('client.known')}</span>`
  if (publishedBy) {
    return html`<span class="badge known">${look.say('client.published', { domain: domainOf(publishedBy) })}</span>`
  }
  return html`<span class="badge">${look.say('client.unverified')}</span>`
}

const domainOf = ({ domain }: NonNullable<AskingClient['publishedBy']>): Markup =>
  html`<bdi>${foreign(domain, 120)}</bdi>`
