import { randomUUID } from 'node:crypto'
import {
  acceptedContent,
  CLIENT_CAPABILITIES_META_KEY,
  createRequestStateCodec,
  type InputRequests,
  inputRequired,
  type McpServer,
  type ServerContext,
} from '@modelcontextprotocol/server'
import { z } from 'zod'
import { text } from './content.ts'

const nothing = z.object({})
const codec = createRequestStateCodec<{ round: number }>({ key: crypto.getRandomValues(new Uint8Array(32)) })
export const { verify } = codec

/** Asks for one text, or one yes. */
const form = (message: string, name: string, type: 'string' | 'boolean' = 'string') =>
  inputRequired.elicit({
    message,
    requestedSchema: {
      type: 'object' as const,
      properties: { [name]: type === 'string' ? { type } : { type } },
      required: [name],
    },
  })
const sampling = (question: string) =>
  inputRequired.createMessage({ messages: [{ role: 'user', content: text(question) }], maxTokens: 50 })
const accepted = ({ mcpReq }: ServerContext, key: string, name: string) =>
  acceptedContent<Record<string, unknown>>(mcpReq.inputResponses, key)?.[name]
const response = ({ mcpReq }: ServerContext, key: string): unknown => mcpReq.inputResponses?.[key]
const done = (value: string) => ({ content: [text(value)] })

/** Tools that ask their client for something first, by answering with the question. @see MCP 2026-07-28, multi round-trip requests */
export const addAskingTools = (server: McpServer): void => {
  type Asked = ReturnType<typeof done> | ReturnType<typeof inputRequired>
  type Ask = (ctx: ServerContext) => Asked | Promise<Asked>
  const tools: Record<string, Ask> = {
    test_missing_capability: (ctx) =>
      response(ctx, 'answer') ? done('answered') : inputRequired({ inputRequests: { answer: sampling('Say pong') } }),

    test_input_required_result_elicitation(ctx) {
      const name = accepted(ctx, 'user_name', 'name')
      const ask = form('What is your name?', 'name')
      return typeof name === 'string' ? done(`Hello, ${name}!`) : inputRequired({ inputRequests: { user_name: ask } })
    },

    test_input_required_result_sampling(ctx) {
      const answer = response(ctx, 'capital_question')
      const ask = sampling('What is the capital of France?')
      return answer ? done(JSON.stringify(answer)) : inputRequired({ inputRequests: { capital_question: ask } })
    },

    test_input_required_result_list_roots(ctx) {
      const answer = response(ctx, 'client_roots')
      const ask = inputRequired.listRoots()
      return answer ? done(JSON.stringify(answer)) : inputRequired({ inputRequests: { client_roots: ask } })
    },

    async test_input_required_result_request_state(ctx) {
      if (ctx.mcpReq.requestState() && response(ctx, 'confirm')) return done('state-ok')
      const requestState = await codec.mint({ round: 1 })
      return inputRequired({ inputRequests: { confirm: form('Please confirm', 'ok', 'boolean') }, requestState })
    },

    async test_input_required_result_tampered_state(ctx) {
      if (ctx.mcpReq.requestState() && response(ctx, 'confirm')) return done('integrity-ok')
      const requestState = await codec.mint({ round: 1 })
      return inputRequired({ inputRequests: { confirm: form('Please confirm', 'ok', 'boolean') }, requestState })
    },

    async test_input_required_result_multiple_inputs(ctx) {
      if (['user_name', 'greeting', 'client_roots'].every((key) => response(ctx, key))) return done('all there')
      return inputRequired({
        inputRequests: {
          user_name: form('What is your name?', 'name'),
          greeting: sampling('Generate a greeting'),
          client_roots: inputRequired.listRoots(),
        },
        requestState: await codec.mint({ round: 1 }),
      })
    },

    async test_input_required_result_multi_round(ctx) {
      const round = ctx.mcpReq.requestState<{ round: number }>()?.round ?? 0
      if (round >= 2) return done('both rounds are done')
      const key = `step${round + 1}`
      const requestState = await codec.mint({ round: round + 1 })
      return inputRequired({
        inputRequests: { [key]: form(`Step ${round + 1} ${randomUUID()}`, 'value') },
        requestState,
      })
    },

    test_input_required_result_capabilities(ctx) {
      if (ctx.mcpReq.inputResponses) return done('answered')
      const declared = (ctx.mcpReq.envelope as Record<string, Record<string, unknown> | undefined> | undefined)?.[
        CLIENT_CAPABILITIES_META_KEY
      ]
      const inputRequests: InputRequests = {}
      if (declared?.elicitation) inputRequests.user_name = form('What is your name?', 'name')
      if (declared?.sampling) inputRequests.greeting = sampling('Generate a greeting')
      if (declared?.roots) inputRequests.client_roots = inputRequired.listRoots()
      return Object.keys(inputRequests).length > 0 ? inputRequired({ inputRequests }) : done('nothing can be asked')
    },
  }
  for (const [name, ask] of Object.entries(tools)) {
    server.registerTool(name, { description: 'Asks first', inputSchema: nothing }, (_, ctx) => ask(ctx))
  }
  server.registerPrompt(
    'test_input_required_result_prompt',
    { description: 'Asks first', argsSchema: nothing },
    (_, ctx) => {
      const context = accepted(ctx, 'user_context', 'context')
      if (typeof context !== 'string') {
        return inputRequired({ inputRequests: { user_context: form('What context?', 'context') } })
      }
      return { messages: [{ role: 'user', content: text(`Use this context: ${context}`) }] }
    },
  )
}

/** Tools that ask by a request of their own, within a session. @see MCP 2025-11-25, elicitation and sampling */
export const addSessionTools = (server: McpServer): void => {
  const asking = (name: string, schema: object, message = 'Please fill this in') =>
    server.registerTool(
      name,
      { description: 'Asks within the session', inputSchema: z.object({ message: z.string().optional() }) },
      async (args, ctx) => {
        const params = { message: args.message ?? message, requestedSchema: schema }
        const answer = await ctx.mcpReq.send({ method: 'elicitation/create', params } as never)
        return done(`Answer: ${JSON.stringify(answer)}`)
      },
    )
  const of = (properties: object, required: string[] = []) => ({ type: 'object', properties, required })
  asking('test_elicitation', of({ response: { type: 'string', description: 'Your response' } }, ['response']))
  asking(
    'test_elicitation_sep1034_defaults',
    of({
      name: { type: 'string', description: 'Name', default: 'John Doe' },
      age: { type: 'integer', description: 'Age', default: 30 },
      score: { type: 'number', description: 'Score', default: 95.5 },
      status: { type: 'string', description: 'Status', enum: ['active', 'inactive', 'pending'], default: 'active' },
      verified: { type: 'boolean', description: 'Verified', default: true },
    }),
  )
  const options = ['option1', 'option2', 'option3']
  const titled = ['value1', 'value2', 'value3'].map((value) => ({ const: value, title: `Title of ${value}` }))
  asking(
    'test_elicitation_sep1330_enums',
    of({
      untitledSingle: { type: 'string', enum: options },
      titledSingle: { type: 'string', oneOf: titled },
      legacyEnum: { type: 'string', enum: ['opt1', 'opt2', 'opt3'], enumNames: ['One', 'Two', 'Three'] },
      untitledMulti: { type: 'array', minItems: 1, maxItems: 3, items: { type: 'string', enum: options } },
      titledMulti: { type: 'array', minItems: 1, maxItems: 3, items: { anyOf: titled } },
    }),
  )
  const prompt = z.object({ prompt: z.string() })
  server.registerTool('test_sampling', { description: 'Samples', inputSchema: prompt }, async (args, ctx) => {
    const params = { messages: [{ role: 'user' as const, content: text(args.prompt) }], maxTokens: 100 }
    const answer = await ctx.mcpReq.send({ method: 'sampling/createMessage', params })
    return done(`LLM response: ${JSON.stringify(answer.content)}`)
  })
}
