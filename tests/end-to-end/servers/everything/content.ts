import { type McpServer, ResourceTemplate } from '@modelcontextprotocol/server'
import { z } from 'zod'

/** A red dot, and silence. */
const image = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=='
const audio = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA='

export const text = (value: string) => ({ type: 'text' as const, text: value })
const picture = { type: 'image' as const, data: image, mimeType: 'image/png' }
const embedded = (uri: string, mimeType: string, value: string) => ({
  type: 'resource' as const,
  resource: { uri, mimeType, text: value },
})
const user = <Content>(content: Content) => ({ role: 'user' as const, content })
const pause = () => new Promise((resolve) => setTimeout(resolve, 20))

/** Tools whose answers are of every kind, as the suite names them. */
export const addTools = (server: McpServer): void => {
  const fixed = {
    test_simple_text: [text('This is a simple text response for testing.')],
    test_image_content: [picture],
    test_audio_content: [{ type: 'audio' as const, data: audio, mimeType: 'audio/wav' }],
    test_embedded_resource: [embedded('test://embedded-resource', 'text/plain', 'An embedded resource.')],
    test_multiple_content_types: [
      text('Several kinds of content:'),
      picture,
      embedded('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
    ],
    test_streaming_elicitation: [text('no request of its own')],
  }
  for (const [name, content] of Object.entries(fixed)) {
    server.registerTool(name, { description: `Answers with ${name}` }, () => ({ content }))
  }
  server.registerTool('test_error_handling', { description: 'Fails' }, () => {
    throw new Error('This tool intentionally returns an error for testing')
  })
  server.registerTool('test_tool_with_logging', { description: 'Logs', inputSchema: z.object({}) }, async (_, ctx) => {
    for (const data of ['started', 'processing', 'completed']) {
      await ctx.mcpReq.notify({ method: 'notifications/message', params: { level: 'info', data } })
      await pause()
    }
    return { content: [text('logged')] }
  })
  server.registerTool(
    'test_logging_tool',
    { description: 'Logs if asked', inputSchema: z.object({}) },
    async (_, ctx) => {
      await ctx.mcpReq.log('info', 'only where the request set a level')
      return { content: [text('logged')] }
    },
  )
  server.registerTool(
    'test_tool_with_progress',
    { description: 'Tells', inputSchema: z.object({}) },
    async (_, ctx) => {
      const progressToken = ctx.mcpReq._meta?.progressToken
      for (const progress of progressToken === undefined ? [] : [0, 50, 100]) {
        const params = { progressToken: progressToken as string, progress, total: 100 }
        await ctx.mcpReq.notify({ method: 'notifications/progress', params })
        await pause()
      }
      return { content: [text(String(progressToken))] }
    },
  )
}

export const addResources = (server: McpServer): void => {
  const fixed = { 'static-text': { text: 'The static text.' }, 'watched-resource': { text: 'Watched.' } }
  for (const [name, content] of Object.entries(fixed)) {
    const uri = `test://${name}`
    server.registerResource(name, uri, { title: name, description: name, mimeType: 'text/plain' }, () => ({
      contents: [{ uri, mimeType: 'text/plain', ...content }],
    }))
  }
  const uri = 'test://static-binary'
  server.registerResource('static-binary', uri, { description: 'A dot', mimeType: 'image/png' }, () => ({
    contents: [{ uri, mimeType: 'image/png', blob: image }],
  }))
  const template = new ResourceTemplate('test://template/{id}/data', { list: undefined })
  server.registerResource(
    'template',
    template,
    { description: 'By id', mimeType: 'application/json' },
    (at, { id }) => ({
      contents: [
        { uri: at.href, mimeType: 'application/json', text: JSON.stringify({ id, data: `Data for ID: ${id}` }) },
      ],
    }),
  )
}

export const addPrompts = (server: McpServer): void => {
  server.registerPrompt('test_simple_prompt', { description: 'Simple' }, () => ({
    messages: [user(text('This is a simple prompt for testing.'))],
  }))
  server.registerPrompt('test_prompt_with_image', { description: 'With an image' }, () => ({
    messages: [user(picture), user(text('Please look at it.'))],
  }))
  const two = z.object({ arg1: z.string().describe('The first'), arg2: z.string().describe('The second') })
  server.registerPrompt('test_prompt_with_arguments', { description: 'Two', argsSchema: two }, ({ arg1, arg2 }) => ({
    messages: [user(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`))],
  }))
  const where = z.object({ resourceUri: z.string().describe('What to embed') })
  server.registerPrompt(
    'test_prompt_with_embedded_resource',
    { description: 'Embeds', argsSchema: where },
    ({ resourceUri }) => ({
      messages: [user(embedded(resourceUri, 'text/plain', 'Embedded.')), user(text('Please process it.'))],
    }),
  )
}
