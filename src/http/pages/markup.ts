import { html } from 'hono/html'

/** Markup that is safe to stand in a page: made by `html`, which escapes whatever is put into it. */
export type Markup = ReturnType<typeof html>

export const nothing: Markup = html``
