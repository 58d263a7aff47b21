import { html } from 'hono/html'
import type { Problem, ProblemPage } from '../../authorization-server/pages.ts'
import { from, hidden, type Look, layout, quotedName } from './layout.ts'
import { type Markup, nothing } from './markup.ts'
import { foreign } from './text.ts'

export const problemTemplate = (look: Look, page: ProblemPage): Markup => {
  const { problem, detail, retryAfter } = page
  const provider = page.provider === undefined ? look.say('problem.provider') : look.host(page.provider)
  const title = look.text(`problem.${problem}.title`)
  return layout(
    look,
    title,
    html`<h1>${title}</h1>
<p>${look.say(`problem.${problem}.what`, { provider })}</p>
${detail === undefined ? nothing : html`<p class="panel quiet">${explained(look, problem, detail)}</p>`}
<p>${look.say(`problem.${problem}.next`)}${retryAfter === undefined || retryAfter < 60 ? nothing : html` ${look.say('problem.wait', { time: look.duration(retryAfter) })}`}</p>
${again(look, page)}
${back(look, page)}`,
  )
}

const explained = (look: Look, problem: Problem, detail: string): Markup => {
  // The host's own words, for its own people.
  if (problem === 'sign_in_not_admitted') return look.host(detail)
  const about = problem === 'sign_in_claims' ? 'problem.claims' : 'problem.details'
  return html`${look.say(about)} <span lang="en">${foreign(detail, 300)}</span>`
}

const again = (look: Look, { again, problem }: ProblemPage): Markup =>
  again === undefined
    ? nothing
    : html`<form method="post" action="${again.form.action}">${hidden(again.form)}<input type="hidden" name="provider" value="${again.provider}">
<div class="actions${offersOther(problem) ? '' : ' one'}"><button class="primary">${look.say('problem.again')}</button>${offersOther(problem) ? html`<button name="decision" value="switch">${look.say('problem.switch')}</button>` : nothing}</div></form>`

/** Whether another account could help. */
const offersOther = (problem: Problem): boolean => problem !== 'provider_unavailable' && problem !== 'attempt_gone'

const back = (look: Look, { back, client }: ProblemPage): Markup =>
  back === undefined || client === undefined
    ? nothing
    : html`<div class="actions one"><a class="button" href="${back}" rel="noreferrer"><span>${look.say('problem.back', { client: quotedName(look, client) })}</span></a></div>
<p class="quiet after">${look.say('problem.back.where', { host: from(client.redirectHost) })}</p>`
