/**
 * Whether a request is of 2026-07-28 or later, where there are no sessions, by its `MCP-Protocol-Version`. Revisions are dates; drafts of later ones are not.
 * @see MCP 2026-07-28, Streamable HTTP, backward compatibility
 */
export const isModern = (version: string | null): boolean =>
  version !== null && !(/^\d{4}-\d{2}-\d{2}$/.test(version.trim()) && version.trim() < '2026-07-28')
