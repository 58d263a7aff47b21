import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { exportJWK, generateKeyPair } from 'jose'
import pg from 'pg'
import { freePort } from '../../support/free-port.ts'
import { startOwnPostgres } from '../../support/postgres.ts'
import { type RunningProcess, startProcess } from '../../support/process.ts'
import { startRedis } from '../../support/redis.ts'
import { type TcpProxy, tcpProxy } from '../../support/tcp-proxy.ts'
import type { Unavailable } from '../../support/unavailable.ts'
import { ask } from './http.ts'
import { type ProofProvider, startProvider } from './provider.ts'

export type Engine = 'postgres' | 'redis'

export interface Node {
  readonly port: number
  readonly origin: string
  readonly pid: number
  /** SIGKILL, and waits for its end. */
  kill(): Promise<void>
  start(): Promise<void>
  /** Asks the node itself, past the server. */
  ask<T>(question: string, argument?: string): Promise<T>
}

/** Nodes on one store, behind a proxy that can be made to fail; and a provider. */
export interface Cluster {
  readonly engine: Engine
  readonly issuer: string
  readonly nodes: readonly Node[]
  readonly provider: ProofProvider
  readonly network: TcpProxy
  readonly robotKey: CryptoKey
  /** Of the engine, past the proxy. */
  readonly storeUrl: string
  readonly space: string
  /** More nodes, in a space of the store that is their own. */
  startNodes(space: string, count: number): Promise<readonly Node[]>
  /** Deletes what a space holds, with its tables. */
  forget(space: string): Promise<void>
  /** SIGKILL of the engine, and a new start on its data. */
  restartEngine(): Promise<void>
  stop(): Promise<void>
}

const root = fileURLToPath(new URL('../../../', import.meta.url))
const secret = 'a secret of the nodes of this proof, long enough'

export interface ClusterOptions {
  /** Of each node's clock, in milliseconds; there are as many nodes. */
  readonly skews?: readonly number[]
  /** Nothing stands between the nodes and the engine, and nothing can be made to fail there: a proxy costs as much as a node. */
  readonly direct?: boolean
  /** Of access tokens, in seconds. */
  readonly tokenLifetime?: number
}

export async function startCluster(
  engine: Engine,
  { skews = [0, 0, 0, 0], direct = false, tokenLifetime = 600 }: ClusterOptions = {},
): Promise<Cluster | Unavailable> {
  const server = engine === 'redis' ? await startRedis() : await startOwnPostgres()
  if ('skip' in server) return server
  const cache = join(root, 'node_modules', '.cache')
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, 'countersign-cluster-'))
  const script = join(folder, 'node.mjs')
  await build({
    entryPoints: [fileURLToPath(new URL('node.ts', import.meta.url))],
    outfile: script,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    logLevel: 'warning',
  })
  const provider = await startProvider()
  const network = await tcpProxy(Number(new URL(server.url).port))
  const through = new URL(server.url)
  if (!direct) through.port = String(network.port)
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const issuer = `http://localhost:${await freePort()}`
  const space = 'proof'
  const environment = {
    ISSUER: issuer,
    ENGINE: engine,
    STORE: through.href,
    SPACE: space,
    SECRET: secret,
    PROVIDER: provider.issuer,
    TOKEN_LIFETIME: String(tokenLifetime),
    CLIENT_KEYS: JSON.stringify([{ ...(await exportJWK(publicKey)), kid: 'robot', alg: 'ES256' }]),
  }
  const nodes = await Promise.all(skews.map((skew) => startNode(script, { ...environment, CLOCK_SKEW: String(skew) })))

  return {
    engine,
    issuer,
    nodes,
    provider,
    network,
    robotKey: privateKey,
    storeUrl: server.url,
    space,
    startNodes: (ofSpace, count) =>
      Promise.all(
        Array.from({ length: count }, () => startNode(script, { ...environment, SPACE: ofSpace, CLOCK_SKEW: '0' })),
      ),
    async forget(ofSpace) {
      // On Redis it is a few keys.
      if (engine === 'redis') return
      const client = new pg.Client({ connectionString: server.url })
      await client.connect()
      await client.query(`DROP SCHEMA IF EXISTS ${pg.escapeIdentifier(ofSpace)} CASCADE`)
      await client.end()
    },
    async restartEngine() {
      await server.kill()
      await server.start()
    },
    async stop() {
      await Promise.all(nodes.map((node) => node.kill()))
      await network.close()
      await provider.stop()
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function startNode(script: string, env: Readonly<Record<string, string>>): Promise<Node> {
  const run = async (port: string): Promise<{ process: RunningProcess; port: number }> => {
    for (let tried = 1; ; tried++) {
      const process = startProcess(globalThis.process.execPath, ['--expose-gc', script], {
        cwd: root,
        env: { ...env, PORT: port },
      })
      try {
        const [, ready = ''] = await process.line(/^ready (\d+)$/, 60_000)
        return { process, port: Number(ready) }
      } catch (error) {
        await process.stop(0)
        // The store may be away at this very moment: orchestrators start it again, too.
        if (tried === 20) throw error
        await new Promise((resolve) => setTimeout(resolve, 250))
      }
    }
  }
  let current = await run('0')
  const { port } = current
  const origin = `http://127.0.0.1:${port}`
  return {
    port,
    origin,
    get pid() {
      return current.process.pid
    },
    async kill() {
      current.process.signal('SIGKILL')
      await current.process.ended
    },
    async start() {
      current = await run(String(port))
    },
    async ask<T>(question: string, argument = '') {
      const url = `${origin}/proof/${question}?of=${encodeURIComponent(argument)}`
      const { status, text } = await ask(url, { patience: 120_000 })
      if (status !== 200) throw new Error(`${question}: ${text}`)
      return JSON.parse(text) as T
    },
  }
}
