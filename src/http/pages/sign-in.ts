import { html } from 'hono/html'
import type { SignInPage } from '../../authorization-server/pages.ts'
import { resourceNames } from './consent.ts'
import { hidden, type Look, layout, type Markup, nothing, quotedName } from './layout.ts'

export const signInTemplate = (look: Look, page: SignInPage): Markup => {
  const single = page.others.length === 1 && !page.password
  return layout(
    look,
    look.text('sign_in.title'),
    html`<h1>${look.say('sign_in.title')}</h1>
<p class="lead">${look.say('sign_in.purpose', { client: quotedName(look, page.client), resource: resourceNames(look, page.resources) })}</p>
${refusal(look, page)}
${passwordForm(look, page)}
${page.password && page.others.length > 0 ? html`<div class="or">${look.say('sign_in.or')}</div>` : nothing}
${page.others.map(
  ({ provider, name }) => html`<form method="post" action="${page.form.action}">${hidden(page.form)}
<button${single ? html` class="primary" autofocus` : nothing} name="provider" value="${provider}"><span>${look.say('sign_in.provider', { provider: look.host(name) })}</span></button></form>`,
)}`,
  )
}

const passwordForm = (look: Look, { form, password }: SignInPage): Markup => {
  if (!password) return nothing
  const known = password.username !== ''
  return html`<form method="post" action="${form.action}">
${hidden(form)}<input type="hidden" name="provider" value="${password.provider}">
<label class="field">${look.say('sign_in.username')}<input name="username" value="${password.username}" autocomplete="username" autocapitalize="none" spellcheck="false" required maxlength="320"${known ? nothing : html` autofocus`}></label>
<label class="field">${look.say('sign_in.password')}<input name="password" type="password" autocomplete="current-password" required maxlength="1024"${known ? html` autofocus` : nothing}></label>
<div class="actions one"><button class="primary">${look.say('sign_in.button')}</button></div>
</form>`
}

const refusal = (look: Look, { refused }: SignInPage): Markup => {
  if (!refused) return nothing
  const words =
    refused.reason === 'credentials'
      ? look.say('sign_in.wrong')
      : look.say('sign_in.too_many', { time: look.duration(refused.retryAfter) })
  return html`<p class="note bad" role="alert">${words}</p>`
}
