import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createAccessToken } from '../../src/identity/access-token.ts'
import { createTokenMemory } from '../../src/identity/token-memory.ts'

const resource = 'https://notes.example.com/mcp'
const tokenOf = (token: string, expiresAt = 1000) =>
  createAccessToken({
    token,
    kind: 'user',
    issuer: 'https://i.example',
    subject: token,
    clientId: 'c',
    scopes: [],
    resource,
    expiresAt,
    claims: {},
  })

test('a remembered token is the very object that was verified', () => {
  const memory = createTokenMemory()
  const token = tokenOf('a')
  memory.remember(token, memory.epoch())
  expect(memory.recall('a', resource, 0)).toBe(token)
  expect(memory.recall('b', resource, 0)).toBeUndefined()
})

test('a token is remembered only for the resource that it was verified for', () => {
  const memory = createTokenMemory()
  memory.remember(tokenOf('a'), memory.epoch())
  expect(memory.recall('a', 'https://other.example.com/mcp', 0)).toBeUndefined()
  // Whoever names none looks itself at what it is for.
  expect(memory.recall('a', undefined, 0)?.resource).toBe(resource)
})

test('nothing outlives its token', () => {
  const memory = createTokenMemory()
  memory.remember(tokenOf('a', 1000), memory.epoch())
  expect(memory.recall('a', resource, 999_999)).toBeDefined()
  expect(memory.recall('a', resource, 1_000_000)).toBeUndefined()
  expect(memory.size).toBe(0)
})

test('what has expired goes as others come, though nobody asks for it again', () => {
  const memory = createTokenMemory()
  for (let old = 0; old < 100; old++) memory.remember(tokenOf(`old ${old}`, 1000), memory.epoch(), `grant ${old}`)
  for (let next = 0; next < 50; next++) {
    expect(memory.recall(`new ${next}`, resource, 1_000_000)).toBeUndefined()
    // No call pays for all of them.
    expect(memory.size).toBe(98 - next)
    memory.remember(tokenOf(`new ${next}`, 2000), memory.epoch())
  }
  expect(memory.size).toBe(50)
  // What lives stays, however much is asked for that was never seen.
  for (let turn = 0; turn < 100; turn++) memory.recall('nonsense', resource, 1_999_999)
  expect(memory.size).toBe(50)
})

test('a token that lives for years does not hide those that expired after it', () => {
  const memory = createTokenMemory()
  const years = (index: number) => tokenOf(`key ${index}`, 1e9)
  for (let index = 0; index < 10; index++) memory.remember(years(index), memory.epoch())
  // A thousand calls, each with a new token that lives for a second; in the end two are alive.
  for (let second = 0; second < 1_000; second++) {
    expect(memory.recall(`${second}`, resource, second * 1000)).toBeUndefined()
    memory.remember(tokenOf(`${second}`, second + 2), memory.epoch())
    expect(memory.size).toBeLessThan(30)
  }
  for (let index = 0; index < 10; index++) expect(memory.recall(`key ${index}`, resource, 0)).toBeDefined()
  // Also after all was forgotten.
  memory.forgetAll()
  for (let second = 0; second < 1_000; second++) {
    memory.recall(`${second}`, resource, second * 1000)
    memory.remember(tokenOf(`${second}`, second + 2), memory.epoch())
  }
  expect(memory.size).toBeLessThan(30)
})

test('design 3, revocation: what was read before something was forgotten is not remembered', () => {
  const memory = createTokenMemory()
  const before = memory.epoch()
  memory.forget('grant-1')
  memory.remember(tokenOf('a'), before, 'grant-1')
  expect(memory.recall('a', resource, 0)).toBeUndefined()
})

test('design 3, revocation: what was read before is not remembered, however often something was forgotten since', () => {
  const memory = createTokenMemory()
  const before = memory.epoch()
  memory.forget('grant-1')
  memory.forgetAll()
  memory.remember(tokenOf('a'), before, 'grant-2')
  expect(memory.recall('a', resource, 0)).toBeUndefined()
})

test('all are forgotten at once, and their groups with them', () => {
  const memory = createTokenMemory()
  for (const name of ['a', 'b']) memory.remember(tokenOf(name), memory.epoch(), 'group')
  memory.forgetAll()
  expect(memory.size).toBe(0)
  expect(memory.recall('a', resource, 0)).toBeUndefined()
  memory.remember(tokenOf('a'), memory.epoch())
  memory.forget('group')
  expect(memory.recall('a', resource, 0)).toBeDefined()
})

test('a token that was verified again stands on what it stands on now', () => {
  const memory = createTokenMemory()
  memory.remember(tokenOf('a'), memory.epoch(), 'before')
  memory.remember(tokenOf('a'), memory.epoch(), 'now')
  memory.forget('before')
  expect(memory.recall('a', resource, 0)).toBeDefined()
  memory.forget('now')
  expect(memory.recall('a', resource, 0)).toBeUndefined()
})

test('a memory without room remembers nothing', () => {
  const memory = createTokenMemory({ capacity: 0 })
  memory.remember(tokenOf('a'), memory.epoch())
  expect(memory.recall('a', resource, 0)).toBeUndefined()
})

test('a token of several groups is forgotten with each of them', () => {
  for (const group of ['parent', 'child']) {
    const memory = createTokenMemory()
    memory.remember(tokenOf('a'), memory.epoch(), 'parent', 'child')
    memory.remember(tokenOf('b'), memory.epoch(), 'parent')
    memory.forget(group)
    expect(memory.recall('a', resource, 0)).toBeUndefined()
    expect(memory.recall('b', resource, 0) === undefined).toBe(group === 'parent')
  }
})

test('the memory is bounded, and what was not used goes first', () => {
  const memory = createTokenMemory({ capacity: 2 })
  for (const name of ['a', 'b']) memory.remember(tokenOf(name), memory.epoch())
  memory.recall('a', resource, 0)
  memory.remember(tokenOf('c'), memory.epoch())
  expect(['a', 'b', 'c'].map((name) => memory.recall(name, resource, 0) !== undefined)).toEqual([true, false, true])
})

test('where all are in use, the memory is bounded all the same, and what comes is remembered', () => {
  const memory = createTokenMemory({ capacity: 3 })
  const names = ['a', 'b', 'c', 'd', 'e', 'f']
  for (const name of names) {
    memory.remember(tokenOf(name), memory.epoch())
    expect(memory.recall(name, resource, 0)).toBeDefined()
    for (const other of names) memory.recall(other, resource, 0)
    expect(memory.size).toBeLessThanOrEqual(3)
  }
  expect(memory.size).toBe(3)
})

test('whatever happens, a forgotten group is gone and the bound holds', () => {
  const steps = fc.array(
    fc.oneof(
      fc.record({ do: fc.constant('remember' as const), token: fc.nat(12), group: fc.nat(3) }),
      fc.record({ do: fc.constant('forget' as const), token: fc.constant(0), group: fc.nat(3) }),
      fc.record({ do: fc.constant('recall' as const), token: fc.nat(12), group: fc.constant(0) }),
    ),
  )
  fc.assert(
    fc.property(steps, (all) => {
      const memory = createTokenMemory({ capacity: 5 })
      const groupOf = new Map<string, string>()
      for (const step of all) {
        const name = `t${step.token}`
        if (step.do === 'remember') {
          memory.remember(tokenOf(name), memory.epoch(), `g${step.group}`)
          groupOf.set(name, `g${step.group}`)
        }
        if (step.do === 'recall') memory.recall(name, resource, 0)
        if (step.do === 'forget') {
          memory.forget(`g${step.group}`)
          for (const [token, group] of groupOf) {
            if (group === `g${step.group}`) expect(memory.recall(token, resource, 0)).toBeUndefined()
          }
        }
        expect(memory.size).toBeLessThanOrEqual(5)
      }
      for (let group = 0; group <= 3; group += 1) memory.forget(`g${group}`)
      expect(memory.size).toBe(0)
    }),
  )
})
