import type { CreatedClient } from '../../authorization-server/clients.ts'
import type { Output } from '../output.ts'
import { CommandFailed, UsageError } from '../usage.ts'
import { clientFlags, clientSettings } from './client-flags.ts'
import { allPages, type Command } from './command.ts'

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
    options: { ...clientFlags, public: { type: 'boolean' } },
    async run({ setting, values, output }) {
      const settings = clientSettings(values)
      const { clients } = await setting.administration()
      showWithSecret(output, await clients.create({ ...settings, confidential: values.public !== true }))
    },
  },
  update: {
    argument: 'ID',
    options: { ...clientFlags, public: { type: 'boolean' }, confidential: { type: 'boolean' } },
    async run({ setting, values, argument, output }) {
      const [isPublic, isConfidential] = [values.public === true, values.confidential === true]
      if (isPublic && isConfidential) throw new UsageError('--public or --confidential?')
      const confidential = isPublic || isConfidential ? { confidential: isConfidential } : {}
      const settings = clientSettings(values)
      const { clients } = await setting.administration()
      const changed = await clients.update(argument, { ...settings, ...confidential })
      if (!changed) throw new CommandFailed('there is no such client')
      showWithSecret(output, changed)
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

/** A new secret is told here and never again: only its hash is kept. */
const showWithSecret = (output: Output, client: CreatedClient): void => {
  const { secret } = client
  output.show(secret === undefined ? client : { ...client, secret })
}
