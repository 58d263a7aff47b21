import type { Activity } from '../resource-server/activity.ts'
import type { OpenStreams } from '../resource-server/open-streams.ts'

/** How to stop; milliseconds. */
export interface Closing {
  /**
   * For so long readiness alone says that this process will stop, and all is served as ever, so that a load balancer sends nothing more
   * before something is refused. Default 0.
   */
  readonly notice?: number | undefined
  /** How long what is under way may take; then it is cut off. Default 10,000. */
  readonly within?: number | undefined
}

interface Stopping extends Closing {
  readonly activity: Activity
  readonly streams: OpenStreams
}

/** Resolves when nothing is under way, or the time is over. */
export const stopGracefully = async ({ activity, streams, notice = 0, within = 10_000 }: Stopping): Promise<void> => {
  if (notice > 0) await new Promise((resolve) => setTimeout(resolve, notice))
  activity.stop()
  streams.stop('listening', comeBack)
  if (await activity.settled(within)) return
  streams.stop('all', comeBack)
}

/** Spread, so that the clients of a process don't all come to the next one at once. */
const comeBack = (): number => 500 + Math.floor(Math.random() * 2_000)
