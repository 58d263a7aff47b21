import { CommandFailed, UsageError } from '../usage.ts'
import { allPages, type Command, text } from './command.ts'

export const accounts: Readonly<Record<string, Command>> = {
  list: {
    async run({ setting, output }) {
      const { accounts } = await setting.administration()
      async function* all() {
        for await (const page of allPages((cursor) => accounts.list(cursor))) yield* page.accounts
      }
      await output.list(all(), ['id', 'createdAt', 'identities'])
    },
  },
  show: {
    argument: 'ID',
    async run({ setting, argument, output }) {
      const found = await (await setting.administration()).accounts.get(argument)
      if (!found) throw new CommandFailed('there is no such account')
      output.show(found)
    },
  },
  find: {
    options: { issuer: { type: 'string' }, subject: { type: 'string' } },
    async run({ setting, values, output }) {
      const [issuer, subject] = [text(values, 'issuer'), text(values, 'subject')]
      if (issuer === undefined || subject === undefined) {
        throw new UsageError('whose account? Say --issuer and --subject, as their provider does')
      }
      const found = await (await setting.administration()).accounts.find({ issuer, subject })
      if (!found) throw new CommandFailed('there is no such account')
      output.show(found)
    },
  },
  delete: {
    argument: 'ID',
    async run({ setting, argument, output }) {
      const deleted = await (await setting.administration()).accounts.delete(argument)
      if (!deleted) throw new CommandFailed('there is no such account')
      const { grants, sessions, upstreamFailed, upstreamPending } = deleted
      const failed = upstreamFailed === 0 ? '' : ` ${upstreamFailed} can’t be ended at the provider.`
      const pending = upstreamPending === 0 ? '' : ` ${upstreamPending} will be ended at the provider by a server.`
      output.done(
        { deleted: argument, ...deleted },
        `Deleted, with ${grants} grants and ${sessions} sign-ins.${failed}${pending}`,
      )
    },
  },
}
