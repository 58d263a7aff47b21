import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type ExchangeFault, endExchange, exchange } from './support/exchange-commands.ts'
import {
  advance,
  authorize,
  type Command,
  connect,
  disconnect,
  endByOperator,
  met,
  redeem,
  refresh,
  restart,
  revoke,
  revokeWhileRefreshing,
  signOut,
} from './support/grant-commands.ts'
import { emptyModel, type Model, type Redemption, type Refreshing } from './support/grant-model.ts'
import {
  CALENDAR,
  CLIENTS,
  createWorld,
  EXCHANGERS,
  type ExchangerName,
  PEOPLE,
  type PersonName,
  RESOURCE,
  SCOPES,
  SHARED,
  type World,
} from './support/world.ts'

const person = fc.constantFrom(...(Object.keys(PEOPLE) as PersonName[]))
const client = fc.constantFrom(...CLIENTS)
const device = fc.constantFrom(1, 2, SHARED)
// By the position from the newest, so that a sequence stays with a grant for a while.
const index = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.nat(5) })
const times = fc.constantFrom(1, 1, 1, 2, 3)
const scopes = fc.subarray([...SCOPES], { minLength: 1 })
const unticked = fc.oneof(fc.constant([]), fc.subarray([...SCOPES]))
const fault = fc.oneof(
  { weight: 5, arbitrary: fc.constant('none' as const) },
  fc.constantFrom('verifier' as const, 'client' as const),
)
const refreshFault = fc.oneof({ weight: 5, arbitrary: fault }, fc.constant('wider' as const))
const exchanger = fc.constantFrom(...(Object.keys(EXCHANGERS) as ExchangerName[]))
const resource = fc.constantFrom(RESOURCE, CALENDAR)
const exchangeFault = fc.oneof(
  { weight: 8, arbitrary: fc.constant<ExchangeFault>('none') },
  fc.constantFrom<ExchangeFault>('wider', 'stranger'),
)
// No sum of them falls on a border, where either answer would be right.
const time = fc.constantFrom(3_001, 11_003, 25_007, 130_011, 700_013)

const either = <T extends string>(...values: readonly T[]) => fc.constantFrom(...values)
const shapes: readonly (readonly [weight: number, arbitrary: fc.Arbitrary<Command>])[] = [
  [4, fc.tuple(person, device, client, scopes).map((args) => connect(...args))],
  [2, fc.tuple(person, device, client, scopes, unticked).map((args) => authorize(...args))],
  [2, fc.tuple(fc.constant(0), times, fault).map((args) => redeem(...args))],
  [1, fc.tuple(index, times, fault).map((args) => redeem(...args))],
  [6, fc.tuple(index, fc.constant(0), times, refreshFault, fc.boolean()).map((args) => refresh(...args))],
  [4, fc.tuple(index, fc.constantFrom(1, 1, 2), times, refreshFault, fc.boolean()).map((args) => refresh(...args))],
  [1, fc.tuple(index, either('access', 'refresh'), fc.nat(3), fc.boolean()).map((args) => revoke(...args))],
  [1, fc.tuple(index, fc.nat(8)).map((args) => revokeWhileRefreshing(...args))],
  [1, fc.tuple(person, fc.nat(3)).map((args) => endByOperator(...args))],
  [1, fc.tuple(person, device, client).map((args) => disconnect(...args))],
  [1, fc.tuple(person, device, fc.boolean()).map((args) => signOut(...args))],
  [
    5,
    fc
      .tuple(fc.constant(0), fc.nat(2), exchanger, resource, fc.boolean(), exchangeFault)
      .map((args) => exchange(...args)),
  ],
  [1, fc.tuple(index, fc.nat(9), exchanger, resource, fc.boolean(), exchangeFault).map((args) => exchange(...args))],
  [1, fc.tuple(index, fc.nat(9), either('client', 'another', 'operator')).map((args) => endExchange(...args))],
  [4, time.map(advance)],
  [1, fc.constant(restart())],
]
// fast-check picks evenly among what it is given.
const commands = shapes.flatMap(([weight, arbitrary]) => Array.from({ length: weight }, () => arbitrary))

/** Meets everything that exchanges can come to, whatever chance brings below. */
const exchanges: readonly Command[] = [
  connect('ada', 1, 'web', ['notes:read', 'notes:write']),
  exchange(0, 0, 'notes-server', CALENDAR, false, 'none'),
  exchange(0, 0, 'calendar-server', RESOURCE, true, 'none'),
  exchange(0, 0, 'support', RESOURCE, false, 'none'),
  exchange(0, 0, 'agent', RESOURCE, false, 'wider'),
  exchange(0, 0, 'agent', RESOURCE, false, 'stranger'),
  exchange(0, 0, 'agent', CALENDAR, false, 'none'),
  exchange(0, 0, 'calendar-server', RESOURCE, false, 'none'),
  // Up to the most that may follow one another, and one more.
  ...Array.from({ length: 6 }, () => exchange(0, 0, 'agent', RESOURCE, false, 'none')),
  endByOperator('ada', 1),
  connect('bob', 2, 'desktop', ['notes:share']),
  // Nothing of it is what that server may get back.
  exchange(0, 0, 'notes-server', CALENDAR, false, 'none'),
  exchange(0, 0, 'calendar-server', RESOURCE, false, 'none'),
  exchange(0, 0, 'notes-server', RESOURCE, false, 'none'),
  endExchange(0, 1, 'another'),
  endExchange(0, 1, 'client'),
  exchange(0, 0, 'agent', RESOURCE, false, 'none'),
  endByOperator('bob', 0),
  connect('bob', 2, 'web', ['notes:read']),
  exchange(0, 0, 'agent', RESOURCE, false, 'none'),
  exchange(0, 0, 'agent', RESOURCE, false, 'none'),
  refresh(0, 0, 1, 'none', false),
  restart(),
  endExchange(0, 0, 'operator'),
  disconnect('bob', 2, 'web'),
  connect('ada', 1, 'mobile', ['notes:read']),
  exchange(0, 0, 'agent', RESOURCE, false, 'none'),
  advance(700_013),
  exchange(0, 0, 'agent', RESOURCE, false, 'none'),
  advance(130_011),
  endByOperator('ada', 0),
]

/** Meets everything else that can come of a grant. */
const lives: readonly Command[] = [
  connect('ada', 1, 'web', ['notes:read', 'notes:write']),
  connect('ada', 1, 'web', ['notes:read']),
  refresh(0, 0, 2, 'none', false),
  refresh(0, 1, 1, 'none', true),
  refresh(0, 0, 1, 'wider', false),
  advance(130_011),
  refresh(0, 1, 1, 'none', false),
  refresh(0, 0, 1, 'none', false),
  connect('ada', SHARED, 'desktop', ['notes:read']),
  connect('bob', SHARED, 'desktop', ['notes:share']),
  redeem(0, 1, 'none'),
  advance(11_003),
  redeem(0, 2, 'none'),
  disconnect('ada', 2, 'web'),
  signOut('bob', 1, false),
  signOut('bob', 1, true),
]

/** How long a revocation waits before it meets a refresh: at last so long that the refresh was surely first. */
const turns = Array.from({ length: 12 }, (_, power) => 4 ** power)

const play = async (world: World, model: Model, commands: readonly Command[]) =>
  fc.asyncModelRun(() => ({ model, real: world }), commands)

const inAWorld = async (act: (world: World) => Promise<void>): Promise<void> => {
  const world = await createWorld()
  try {
    await act(world)
  } finally {
    await world.dispose()
  }
}

it('design 1: whatever becomes of a grant, a handler sees what was granted', async () => {
  met.clear()
  const redemptions: Redemption[] = ['redeems', 'refused', 'revokes']
  const refreshings: Refreshing[] = ['rotates', 'repeats', 'revokes', 'refused']
  await inAWorld(async (world) => {
    const model = emptyModel()
    await play(world, model, lives)
    for (const waits of turns) {
      await play(world, model, [connect('bob', 1, 'web', ['notes:read']), revokeWhileRefreshing(0, waits)])
      if (met.has('refreshed while it was revoked')) break
    }
  })
  expect([...met].sort()).toEqual(
    [
      'consent skipped',
      'another person signed in',
      'refreshed while it was revoked',
      'disconnected',
      'signed out',
      'signed out everywhere',
      ...redemptions.map((each) => `redemption ${each}`),
      ...refreshings.map((each) => `refreshing ${each}`),
    ].sort(),
  )
}, 300_000)

it('design 1: whatever servers and agents exchange a token for, it is the same person’s, of no more, and ends with what it came of', async () => {
  met.clear()
  await inAWorld((world) => play(world, emptyModel(), exchanges))
  expect([...met].filter((each) => each.includes('exchange')).sort()).toEqual(
    [
      'exchanged',
      'exchanged again',
      'an exchange ended by itself',
      'exchange refused: invalid_request',
      'exchange refused: invalid_scope',
      'exchange refused: invalid_target',
      'exchange refused: unauthorized_client',
    ].sort(),
  )
}, 300_000)

it('design 1: whatever people, clients and devices do, a handler sees what was granted', async () => {
  await fc.assert(
    fc.asyncProperty(fc.commands(commands, { maxCommands: 60, size: 'max' }), (sequence) =>
      inAWorld((world) => fc.asyncModelRun(() => ({ model: emptyModel(), real: world }), sequence)),
    ),
    { numRuns: 40, interruptAfterTimeLimit: 240_000 },
  )
}, 300_000)
