import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { npmTool } from './npm-tool.ts'

/**
 * The path of a Node 24, for tools that don't start on the oldest Node that the project supports: `NODE24`, else this one if it is new
 * enough, else one from npm.
 */
export async function node24(): Promise<string> {
  const named = process.env.NODE24
  if (named !== undefined) return named
  if (Number.parseInt(process.versions.node, 10) >= 24) return process.execPath
  const name = `node-${process.platform}-${process.arch}`
  const node = join(await npmTool(name, '24'), name, 'bin', 'node')
  await promisify(execFile)(node, ['--version'])
  return node
}
