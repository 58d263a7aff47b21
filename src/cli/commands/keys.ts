import { type KeyUse, keyUses } from '../../keys/ring.ts'
import { UsageError } from '../usage.ts'
import { type Command, text } from './command.ts'

export const keys: Readonly<Record<string, Command>> = {
  list: {
    async run({ setting, output }) {
      const found = await (await setting.administration()).keys.list()
      async function* all() {
        yield* found
      }
      await output.list(all(), ['id', 'use', 'algorithm', 'state', 'createdAt', 'activeFrom', 'until'])
    },
  },
  rotate: {
    options: { use: { type: 'string' }, compromised: { type: 'boolean' } },
    async run({ setting, values, output }) {
      const use = text(values, 'use') ?? 'sign'
      if (!isUse(use)) throw new UsageError(`--use is one of ${keyUses.join(', ')}`)
      const { keys } = await setting.administration()
      output.show(await keys.rotate({ use, compromised: values.compromised === true }))
    },
  },
  reseal: {
    async run({ setting, output }) {
      const resealed = await setting.reseal()
      output.done(
        { resealed },
        resealed
          ? 'The key ring is sealed for the secrets that were given now, and for no other.'
          : 'The key ring is sealed for these secrets already.',
      )
    },
  },
}

const isUse = (use: string): use is KeyUse => keyUses.some((each) => each === use)
