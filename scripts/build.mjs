// Builds the package: one file for each export and what they share, so that a server starts without loading a hundred modules one by one;
// and the declarations, file by file. Of zod, which alone is another hundred, what is used comes along; the other packages stay outside.
import { execFileSync } from 'node:child_process'
import { copyFileSync, readFileSync, rmSync } from 'node:fs'
import { build } from 'esbuild'

const { exports, bin } = JSON.parse(readFileSync('package.json', 'utf8'))
const entries = [...Object.values(exports).map((each) => each.default), ...Object.values(bin)]
  .filter((path) => path !== undefined)
  .map((path) => path.replace(/^\.\/dist\/(.+)\.js$/, 'src/$1.ts'))

rmSync('dist', { recursive: true, force: true })
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' })
await build({
  entryPoints: entries,
  outbase: 'src',
  outdir: 'dist',
  bundle: true,
  splitting: true,
  chunkNames: 'shared/[name]-[hash]',
  format: 'esm',
  platform: 'neutral',
  target: 'node20',
  packages: 'external',
  external: ['node:*'],
  alias: { zod: './node_modules/zod/index.js' },
  logLevel: 'warning',
})
copyFileSync('node_modules/zod/LICENSE', 'dist/LICENSE-zod')
