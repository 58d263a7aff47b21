import { CommandFailed, UsageError } from '../usage.ts'
import { allPages, type Command, text } from './command.ts'

export const grants: Readonly<Record<string, Command>> = {
  list: {
    options: { account: { type: 'string' }, client: { type: 'string' } },
    async run({ setting, values, output }) {
      const [account, clientId] = [text(values, 'account'), text(values, 'client')]
      if ((account === undefined) === (clientId === undefined)) {
        throw new UsageError('grants of whom? Say --account or --client')
      }
      const owner = account === undefined ? { clientId: clientId ?? '' } : { account }
      const { grants } = await setting.administration()
      async function* all() {
        for await (const page of allPages((cursor) => grants.list(owner, cursor))) yield* page.grants
      }
      await output.list(all(), [
        'id',
        'kind',
        'account',
        'clientId',
        'redirectHost',
        'resources',
        'createdAt',
        'usedAt',
        'parent',
        'actor',
      ])
    },
  },
  revoke: {
    argument: 'ID',
    async run({ setting, argument, output }) {
      if (!(await (await setting.administration()).grants.revoke(argument)))
        throw new CommandFailed('there is no such grant')
      output.done({ revoked: argument }, 'Revoked, with all its tokens.')
    },
  },
}
