/** Carries out one operation within this process, without HTTP, as often as it is told: `BENCH_OPERATION` names it. */
import { report } from '../harness/measured.ts'
import type { Operation } from '../operations/operation.ts'
import { otherIssuer } from '../operations/other-issuer.ts'
import { ownIssuer } from '../operations/own-issuer.ts'
import { policies } from '../operations/policies.ts'

const operations: Readonly<Record<string, () => Promise<Operation>>> = {
  ...otherIssuer,
  ...ownIssuer,
  ...policies,
}
const make = operations[process.env.BENCH_OPERATION ?? '']
if (make === undefined) throw new Error(`BENCH_OPERATION is none of ${Object.keys(operations).join(', ')}`)
const { prepare, call, port = 0, hear } = await make()

report(port, undefined, async (question) => {
  const { prepare: calls, call: times } = question as { readonly prepare?: number; readonly call?: number }
  if (calls !== undefined) await prepare?.(calls)
  else if (times === undefined) await hear?.(question)
  else for (let done = 0; done < times; done++) await call()
  return true
})
