import { CommandFailed } from '../usage.ts'
import { allPages, type Command, text, texts } from './command.ts'

export const clients: Readonly<Record<string, Command>> = {
  list: {
    async run({ setting, output }) {
      const { clients } = await setting.administration()
      async function* all() {
        for await (const page of allPages((cursor) => clients.list(cursor))) yield* page.clients
      }
      await output.list(all(), ['id', 'name', 'source', 'confidential', 'redirectUris', 'createdAt'])
    },
  },
  show: {
    argument: 'ID',
    async run({ setting, argument, output }) {
      const found = await (await setting.administration()).clients.get(argument)
      if (!found) throw new CommandFailed('there is no such client')
      output.show(found)
    },
  },
  create: {
    options: {
      name: { type: 'string' },
      'redirect-uri': { type: 'string', multiple: true },
      public: { type: 'boolean' },
    },
    async run({ setting, values, output }) {
      const name = text(values, 'name')
      const created = await (await setting.administration()).clients.create({
        ...(name === undefined ? {} : { name }),
        redirectUris: texts(values, 'redirect-uri'),
        confidential: values.public !== true,
      })
      // It is told here and never again: only its hash is kept.
      const { secret } = created
      output.show(secret === undefined ? created : { ...created, secret })
    },
  },
  delete: {
    argument: 'ID',
    async run({ setting, argument, output }) {
      if (!(await (await setting.administration()).clients.delete(argument)))
        throw new CommandFailed('there is no such client')
      output.done({ deleted: argument }, 'Deleted, with all its tokens.')
    },
  },
}
