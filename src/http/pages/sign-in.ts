import { html } from 'hono/html'
import type { ContinuePage, SignInPage } from '../../authorization-server/pages.ts'
import { resourceName } from './consent.ts'
import {
  accountName,
  hidden,
  hostText,
  type Look,
  layout,
  type Markup,
  nothing,
  quotedName,
  shortName,
} from './layout.ts'
import { foreign } from './text.ts'
import { minutes } from './words.ts'

export const signInTemplate = (look: Look, page: SignInPage): Markup =>
  layout(
    look,
    'Sign in',
    html`<h1>Sign in</h1>
<p class="lead">to let ${quotedName(page.client)} use ${resourceName(look.branding, page.resource)}</p>
${refusal(page)}
${passwordForm(page)}
${page.password && page.others.length > 0 ? html`<div class="or">or</div>` : nothing}
${page.others.map(
  ({ provider, name }) => html`<form method="post" action="${page.form.action}">${hidden(page.form)}
<button${page.others.length === 1 && !page.password ? html` class="primary" autofocus` : nothing} name="provider" value="${provider}"><span>Continue with <bdi>${foreign(name, 60)}</bdi></span></button></form>`,
)}`,
  )

const passwordForm = ({ form, password }: SignInPage): Markup => {
  if (!password) return nothing
  const known = password.username !== ''
  return html`<form method="post" action="${form.action}">
${hidden(form)}<input type="hidden" name="provider" value="${password.provider}">
<label class="field">User name<input name="username" value="${password.username}" autocomplete="username" autocapitalize="none" spellcheck="false" required maxlength="320"${known ? nothing : html` autofocus`}></label>
<label class="field">Password<input name="password" type="password" autocomplete="current-password" required maxlength="1024"${known ? html` autofocus` : nothing}></label>
<div class="actions one"><button class="primary">Sign in</button></div>
</form>`
}

const refusal = ({ refused }: SignInPage): Markup => {
  if (!refused) return nothing
  if (refused.reason === 'credentials') {
    return html`<p class="note bad" role="alert">The user name or the password is wrong. Please try again.</p>`
  }
  return html`<p class="note bad" role="alert">Too many attempts. Please wait ${minutes(refused.retryAfter)}, then try again.</p>`
}

export const continueTemplate = (look: Look, page: ContinuePage): Markup =>
  layout(
    look,
    'Continue?',
    html`<h1>Continue as ${shortName(page.signedIn)}?</h1>
<p class="lead">You have signed in with another account than the one you were shown before.</p>
<div class="panel"><p>As ${accountName(page.signedIn)}</p><p class="quiet">signed in with <bdi>${foreign(page.signedIn.provider, 60)}</bdi></p></div>
<p>${quotedName(page.client)} would use ${resourceName(look.branding, page.resource)} as this account${page.scopes.length === 0 ? '.' : ', and be able to'}</p>
${page.scopes.length === 0 ? nothing : html`<ul>${page.scopes.map(({ description }) => html`<li>${hostText(look.branding, description)}</li>`)}</ul>`}
<form method="post" action="${page.form.action}">
${hidden(page.form)}
<div class="actions">
<button class="primary" name="decision" value="continue">Continue</button>
<button name="decision" value="switch">Switch account</button>
</div>
</form>`,
  )
