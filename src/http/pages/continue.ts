import { html } from 'hono/html'
import type { ContinuePage } from '../../authorization-server/pages.ts'
import { resourceNames } from './consent.ts'
import { accountName, hidden, type Look, layout, quotedName, shortName } from './layout.ts'
import { type Markup, nothing } from './markup.ts'

export const continueTemplate = (look: Look, page: ContinuePage): Markup => {
  const use = { client: quotedName(look, page.client), resource: resourceNames(look, page.resources) }
  const scopes = page.resources
    .flatMap(({ scopes: each }) => each)
    .map(({ description }) => html`<li>${look.host(description)}</li>`)
  return layout(
    look,
    look.text('continue.title'),
    html`<h1>${look.say('continue.heading', { account: shortName(look, page.signedIn) })}</h1>
<p class="lead">${look.say('continue.why')}</p>
<div class="panel"><p>${look.say('person.as', { account: accountName(look, page.signedIn) })}</p><p class="quiet">${look.say('continue.signed_in_with', { provider: look.host(page.signedIn.provider) })}</p></div>
<p>${scopes.length === 0 ? look.say('continue.use', use) : look.say('continue.use.scopes', use)}</p>
${scopes.length === 0 ? nothing : html`<ul>${scopes}</ul>`}
<form method="post" action="${page.form.action}">
${hidden(page.form)}
<div class="actions">
<button class="primary" name="decision" value="continue">${look.say('continue.button')}</button>
<button name="decision" value="switch">${look.say('continue.switch')}</button>
</div>
</form>`,
  )
}
