import { createRequire } from 'node:module'
import type { Cluster, ClusterNode, ClusterOptions, Redis, RedisOptions } from 'ioredis'
import { StoreUnavailable } from '../store.ts'
import type { Script } from './scripts.ts'

/** A cluster: some of its nodes, and what ioredis takes for all of it. */
export interface RedisCluster {
  readonly nodes: readonly ClusterNode[]
  readonly options?: ClusterOptions
}

export interface Connection {
  /**
   * Runs a script once, or not at all, or with unknown outcome, but never twice. Texts come back as Buffers.
   * @throws StoreUnavailable
   */
  run(script: Script, keys: readonly string[], values: readonly (string | Uint8Array)[]): Promise<readonly unknown[]>
  /** A new connection that has subscribed to a shard channel; it ends when it is lost. */
  subscribe(channel: string): Promise<Redis>
  /** The database's number. */
  readonly database: number
  close(): void
}

/** Nobody waits longer for an operation. Milliseconds. */
export const LONGEST_WAIT = 5_000

/**
 * What the contract needs of ioredis, whatever the caller asked for. A command whose connection is lost fails, and is never sent
 * again: a commit may have been applied. One that waits for a connection fails with the first attempt that fails.
 */
const NEEDED = {
  lazyConnect: true,
  keyPrefix: '',
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  enableAutoPipelining: false,
  readOnly: false,
  replyMapping: 'legacy',
  stringNumbers: false,
  // The server has become a replica: another one is the master now. `1` is not to send the command again.
  reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 1 : false),
} satisfies RedisOptions

/** A silent connection counts as lost after this time. */
const DEFAULTS = {
  connectTimeout: LONGEST_WAIT,
  socketTimeout: LONGEST_WAIT,
  retryStrategy: (attempts: number) => Math.min(50 * 2 ** attempts, 1_000) * (0.5 + Math.random() / 2),
} satisfies RedisOptions

interface Library {
  readonly Redis: new (options: RedisOptions) => Redis
  readonly Cluster: new (nodes: ClusterNode[], options: ClusterOptions) => Cluster
  readonly fromUrl: new (url: string, options: RedisOptions) => Redis
}

/** @throws Error when ioredis isn't there; TypeError for options that can't work */
export function connect(to: string | RedisOptions | RedisCluster): Connection {
  const { client, subscriber } = open(to, load())
  let lastError: unknown
  client.on('error', (error: unknown) => {
    lastError = error
  })
  const call = (command: string, values: readonly (string | Uint8Array | number)[]) =>
    client.callBuffer(
      command,
      values.map((value) => (value instanceof Uint8Array ? buffer(value) : value)),
    )

  return {
    async run(script, keys, values) {
      const more = [keys.length, ...keys, ...values]
      try {
        const answer = await call('evalsha', [script.sha, ...more]).catch((error: unknown) => {
          // It was not run.
          if (message(error).startsWith('NOSCRIPT')) return call('eval', [script.text, ...more])
          throw error
        })
        lastError = undefined
        return answer as readonly unknown[]
      } catch (error) {
        // Of a connection that failed, only its own error says why.
        throw unavailable(isReply(error) ? error : (lastError ?? error))
      }
    },

    subscribe: (channel) => subscriber(channel),
    database: 'nodes' in client ? 0 : (client.options.db ?? 0),
    close: () => client.disconnect(),
  }
}

/** Whether it was this side that gave the connection up, because the server was silent: it may still get what was sent. */
export function givenUp(error: unknown): boolean {
  return error instanceof StoreUnavailable && message(error.cause).startsWith('Socket timeout')
}

function load(): Library {
  let loaded: { readonly Redis: Library['Redis'] & Library['fromUrl']; readonly Cluster: Library['Cluster'] }
  try {
    loaded = createRequire(import.meta.url)('ioredis')
  } catch (cause) {
    throw new Error('The Redis store needs the package ioredis, which did not load. Run "npm install ioredis"', {
      cause,
    })
  }
  return { ...loaded, fromUrl: loaded.Redis }
}

function open(to: string | RedisOptions | RedisCluster, { Redis, Cluster, fromUrl }: Library) {
  if (typeof to === 'object' && to !== null && 'nodes' in to) {
    const { nodes, options: { redisOptions, ...options } = {} } = to
    if (!Array.isArray(nodes) || nodes.length === 0) throw new TypeError('redis: a cluster needs at least one node')
    refuseKeyPrefix(options.keyPrefix ?? redisOptions?.keyPrefix)
    const { retryStrategy: _, ...defaults } = DEFAULTS
    const client = new Cluster([...nodes], {
      clusterRetryStrategy: DEFAULTS.retryStrategy,
      ...options,
      lazyConnect: true,
      keyPrefix: '',
      enableAutoPipelining: false,
      scaleReads: 'master',
      retryDelayOnFailover: 0, // It would send again what may have been applied.
      redisOptions: { ...defaults, ...redisOptions, ...NEEDED },
    })
    client.on('node error', (error: unknown) => client.emit('error', error))
    return { client, subscriber: (channel: string) => subscribedInCluster(client, channel) }
  }
  if (to === '' || (typeof to !== 'string' && (typeof to !== 'object' || to === null))) {
    throw new TypeError('redis: a URL, options of ioredis, or the nodes of a cluster are needed')
  }
  if (typeof to === 'object') refuseKeyPrefix(to.keyPrefix)
  const client =
    typeof to === 'string' ? new fromUrl(to, { ...DEFAULTS, ...NEEDED }) : new Redis({ ...DEFAULTS, ...to, ...NEEDED })
  return { client, subscriber: (channel: string) => subscribed(client, channel, {}) }
}

function refuseKeyPrefix(prefix: string | undefined): void {
  if (prefix) throw new TypeError('redis: keyPrefix is not for this store, which has an option `prefix` of its own')
}

/** Who lost it opens another, so that this works alike after a failover. */
async function subscribed(client: Redis, channel: string, to: RedisOptions): Promise<Redis> {
  const own = client.duplicate({ ...to, retryStrategy: null, commandTimeout: LONGEST_WAIT })
  own.on('error', () => {}) // It ends, too.
  own.on('moved', () => own.disconnect())
  try {
    await own.ssubscribe(channel)
    return own
  } catch (error) {
    own.disconnect()
    throw error
  }
}

/** A shard channel is heard at the nodes that have its slot: any other names them. */
async function subscribedInCluster(cluster: Cluster, channel: string): Promise<Redis> {
  const [some] = cluster.nodes('master')
  if (some === undefined) throw new StoreUnavailable('no node of the cluster is known')
  try {
    return await subscribed(some, channel, {})
  } catch (error) {
    const [, host, port] = /^MOVED \d+ (.*):(\d+)$/.exec(message(error)) ?? []
    if (host === undefined) throw error
    const known = cluster.nodes().find(({ options }) => options.host === host && options.port === Number(port))
    return subscribed(known ?? some, channel, known === undefined ? { host, port: Number(port) } : {})
  }
}

/** Errors of ioredis have the command with them, keys and values and passwords: only their text goes on. */
function unavailable(error: unknown): StoreUnavailable {
  const reason = message(error).split(', with args')[0] ?? ''
  return new StoreUnavailable(`the Redis store can't be used: ${reason}`, { cause: new Error(reason) })
}

function isReply(error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError'
}

function message(error: unknown): string {
  return error instanceof Error
    ? error.message || String((error as { code?: unknown }).code ?? error.name)
    : String(error)
}

function buffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
}
