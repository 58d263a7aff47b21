import { html } from 'hono/html'
import type { SignInPage } from '../../authorization-server/pages.ts'
import { resourceNames } from './consent.ts'
import { hidden, type Look, layout, quotedName } from './layout.ts'
import { type Markup, nothing } from './markup.ts'

export const signInTemplate = (look: Look, page: SignInPage): Markup => {
  const single = page.others.length === 1 && !page.password
  const or = html`<div class="or">${look.say('sign_in.or')}</div>`
  return layout(
    look,
    look.text('sign_in.title'),
    html`<h1>${look.say('sign_in.title')}</h1>
<p class="lead">${purpose(look, page)}</p>
${refusal(look, page)}
${page.byEmail ? html`${emailForm(look, page)}${or}` : nothing}
${passwordForm(look, page)}
${page.password && page.others.length > 0 ? or : nothing}
${page.others.map(
  ({ provider, name }) => html`<form method="post" action="${page.form.action}">${hidden(page.form)}
<button${single ? html` class="primary" autofocus` : nothing} name="provider" value="${provider}"><span>${look.say('sign_in.provider', { provider: look.host(name) })}</span></button></form>`,
)}`,
  )
}

const purpose = (look: Look, { purpose }: SignInPage): Markup => {
  if (purpose.kind !== 'client') return look.say(`sign_in.purpose.${purpose.kind}`)
  const { client, resources } = purpose
  return look.say('sign_in.purpose', { client: quotedName(look, client), resource: resourceNames(look, resources) })
}

const emailForm = (look: Look, { form, password, refused }: SignInPage): Markup => {
  const tried = refused?.reason === 'email' ? (password?.username ?? '') : ''
  return html`<form method="post" action="${form.action}">
${hidden(form)}
<label class="field">${look.say('sign_in.email')}<input name="email" type="email" value="${tried}" autocomplete="email" required maxlength="320"${password?.username ? nothing : html` autofocus`}></label>
<div class="actions one"><button class="primary" name="decision" value="email">${look.say('sign_in.email.button')}</button></div>
</form>`
}

const passwordForm = (look: Look, { form, password, byEmail }: SignInPage): Markup => {
  if (!password) return nothing
  const known = password.username !== ''
  return html`<form method="post" action="${form.action}">
${hidden(form)}<input type="hidden" name="provider" value="${password.provider}">
<label class="field">${look.say('sign_in.username')}<input name="username" value="${password.username}" autocomplete="username" autocapitalize="none" spellcheck="false" required maxlength="320"${known || byEmail ? nothing : html` autofocus`}></label>
<label class="field">${look.say('sign_in.password')}<input name="password" type="password" autocomplete="current-password" required maxlength="1024"${known ? html` autofocus` : nothing}></label>
<div class="actions one"><button${byEmail ? nothing : html` class="primary"`}>${look.say('sign_in.button')}</button></div>
</form>`
}

const refusal = (look: Look, { refused }: SignInPage): Markup => {
  if (!refused) return nothing
  if (refused.reason === 'email') return html`<p class="note" role="alert">${look.say('sign_in.email.elsewhere')}</p>`
  const words =
    refused.reason === 'credentials'
      ? look.say('sign_in.wrong')
      : look.say('sign_in.too_many', { time: look.duration(refused.retryAfter) })
  return html`<p class="note bad" role="alert">${words}</p>`
}
