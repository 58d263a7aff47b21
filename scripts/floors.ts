/**
 * How the house is laid out, as data. A room is a folder of `src/`, or a file that stands there by itself (named without its ending).
 * A room may import itself, every room of the floors below it, and nothing else.
 */
export const FLOORS: readonly { readonly floor: string; readonly rooms: readonly string[] }[] = [
  { floor: '1', rooms: ['identity', 'oauth', 'crypto', 'events', 'policy'] },
  { floor: '2', rooms: ['store', 'net', 'audit'] },
  { floor: '3', rooms: ['records', 'keys'] },
  { floor: '4', rooms: ['upstream'] },
  { floor: '5', rooms: ['authorization-server', 'resource-server'] },
  { floor: '6', rooms: ['http', 'mcp'] },
  {
    floor: '7 (below the compositions)',
    rooms: [
      'instance-checks',
      'option-checks',
      'protection',
      'options',
      'server-keys',
      'server-context',
      'administration',
    ],
  },
  { floor: '7', rooms: ['countersign', 'verify-only'] },
  { floor: '7 (above the composition)', rooms: ['gateway', 'console', 'cli', 'testing', 'stdio'] },
  { floor: '7 (the entry)', rooms: ['index'] },
]

/** Rooms that may import another of their own floor. */
export const NEIGHBOURS: Readonly<Record<string, readonly string[]>> = {
  audit: ['store'],
  keys: ['records'],
  options: ['instance-checks', 'option-checks', 'protection'],
  'server-keys': ['options'],
  'server-context': ['options', 'server-keys'],
}

/** Rooms that may import less than all the floors below: these alone (and themselves). */
export const ONLY: Readonly<Record<string, readonly string[]>> = {
  'resource-server': ['identity', 'oauth', 'crypto', 'events', 'policy', 'net'],
}

/** Rooms that import nothing of Node. */
export const WITHOUT_NODE: readonly string[] = ['identity', 'oauth', 'events', 'policy', 'resource-server']

/** The files of those rooms that may, and what. */
export const NODE_EXCEPTIONS: Readonly<Record<string, readonly string[]>> = {
  'identity/context.ts': ['node:async_hooks'],
}

/** Frameworks and SDKs: their names, or prefixes that end in `/`. */
export const FRAMEWORKS: readonly string[] = [
  'hono',
  '@hono/',
  'express',
  'fastify',
  '@fastify/',
  '@modelcontextprotocol/',
]

/** The rooms of the core, which know no framework: neither in their code nor in their declarations. */
export const CORE: readonly string[] = FLOORS.slice(0, 5).flatMap(({ rooms }) => rooms)
