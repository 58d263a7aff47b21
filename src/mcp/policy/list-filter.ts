import type { AccessToken } from '../../identity/access-token.ts'
import type { MessageFilter } from '../../resource-server/handler.ts'
import type { Decider, Target } from './decide.ts'
import type { Verdict } from './evaluate.ts'
import type { Kind } from './rule.ts'

/**
 * Takes out of lists what their reader may not use. By the form of a result and not by its request: a stream that is resumed brings
 * answers whose questions came with another request.
 * @param failed hears of a rule that threw; what it was about is not shown
 */
export const listFilter = (decider: Decider, token: AccessToken, failed: (error: unknown) => void): MessageFilter => {
  const hidden = (error: unknown): false => {
    failed(error)
    return false
  }
  const shows = (list: List, item: unknown): boolean | Promise<boolean> => {
    const name = isObject(item) ? item[list.name] : undefined
    if (typeof name !== 'string') return false
    const target: Target = { kind: list.kind, name, template: list.name === 'uriTemplate' }
    try {
      const decided = decider.decide(token, list.method, target, true)
      return 'outcome' in decided ? isAllowed(decided) : decided.then(isAllowed, hidden)
    } catch (error) {
      return hidden(error)
    }
  }

  return async (message) => {
    if (!isObject(message) || !isObject(message.result) || Array.isArray(message.result.content)) return message
    const result = { ...message.result }
    let filtered = false
    for (const list of lists) {
      const items = result[list.member]
      if (!decider.governs(list.kind) || !Array.isArray(items)) continue
      const decided = items.map((item) => shows(list, item))
      // Hundreds of promises for what is known already would cost more than all the rest.
      const shown = decided.some((each) => typeof each !== 'boolean') ? await Promise.all(decided) : decided
      result[list.member] = items.filter((_, at) => shown[at])
      filtered = true
    }
    if (!filtered) return message
    // What one caller may see is no answer for another.
    if (Object.hasOwn(result, 'cacheScope')) result.cacheScope = 'private'
    return { ...message, result }
  }
}

const isAllowed = ({ outcome }: Verdict): boolean => outcome === 'allow'

/** Whether an answer may hold a list: then it is read on its way out. */
export const isListMethod = (method: string): boolean => lists.some((list) => list.method === method)

interface List {
  readonly method: string
  readonly kind: Kind
  /** Of the result. */
  readonly member: string
  /** What names an item. */
  readonly name: string
}

const lists: readonly List[] = [
  { method: 'tools/list', kind: 'tools', member: 'tools', name: 'name' },
  { method: 'prompts/list', kind: 'prompts', member: 'prompts', name: 'name' },
  { method: 'resources/list', kind: 'resources', member: 'resources', name: 'uri' },
  { method: 'resources/templates/list', kind: 'resources', member: 'resourceTemplates', name: 'uriTemplate' },
]

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
