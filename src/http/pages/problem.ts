import { html } from 'hono/html'
import type { Problem, ProblemPage } from '../../authorization-server/pages.ts'
import { hidden, type Look, layout, type Markup, nothing, quotedName } from './layout.ts'
import { foreign } from './text.ts'
import { minutes, problemWords } from './words.ts'

export const problemTemplate = (look: Look, page: ProblemPage): Markup => {
  const { title, what, next } = problemWords(
    page.problem,
    page.provider === undefined ? undefined : foreign(page.provider, 60),
  )
  return layout(
    look,
    title,
    html`<h1>${title}</h1>
<p>${what}</p>
${page.detail === undefined ? nothing : html`<p class="panel quiet">${page.problem === 'sign_in_claims' ? 'Missing, or not as needed:' : 'Details:'} ${foreign(page.detail, 300)}</p>`}
<p>${next}${page.retryAfter === undefined || page.retryAfter < 60 ? nothing : html` (Wait ${minutes(page.retryAfter)}.)`}</p>
${again(page)}
${back(page)}`,
  )
}

const again = ({ again, problem }: ProblemPage): Markup =>
  again === undefined
    ? nothing
    : html`<form method="post" action="${again.form.action}">${hidden(again.form)}<input type="hidden" name="provider" value="${again.provider}">
<div class="actions${offersOther(problem) ? '' : ' one'}"><button class="primary">Try again</button>${offersOther(problem) ? html`<button name="decision" value="switch">Switch account</button>` : nothing}</div></form>`

/** Whether another account could help. */
const offersOther = (problem: Problem): boolean => problem !== 'provider_unavailable' && problem !== 'attempt_gone'

const back = ({ back, client }: ProblemPage): Markup =>
  back === undefined || client === undefined
    ? nothing
    : html`<div class="actions one"><a class="button" href="${back}" rel="noreferrer"><span>Back to ${quotedName(client)}</span></a></div>
<p class="quiet after">This leads to <span class="from">${foreign(client.redirectHost, 120)}</span>.</p>`
