import { describe } from 'vitest'
import { memory } from '../../src/store/memory.ts'
import { contract } from './contract.ts'
import { model } from './model.ts'
import { stopped } from './movable-clock.ts'

const bench = async () => {
  const clock = stopped()
  const store = memory({ clock })
  return { store, pass: clock.pass, end: () => store.close() }
}

describe('memory', () => {
  contract(bench)
  model(bench)
})
