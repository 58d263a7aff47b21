import type { UpstreamContext } from './context.ts'
import type { NamedProvider } from './provider.ts'

export interface RenewalContext extends Pick<UpstreamContext, 'records' | 'random' | 'audit'> {
  readonly providers: ReadonlyMap<string, NamedProvider>
  readonly lifetime: number
  readonly lease: number
}

export const createRenewal =
  (_context: RenewalContext) =>
  async (_sessionId: string): Promise<string> => {
    throw new Error('not written yet')
  }
