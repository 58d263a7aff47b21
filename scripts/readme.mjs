// Writes the examples into the README and the docs: `node scripts/readme.mjs`. A test sees to it that it was not forgotten.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

const root = new URL('../', import.meta.url)
const docs = readdirSync(new URL('docs/', root)).filter((name) => name.endsWith('.md'))

for (const page of ['README.md', ...docs.map((name) => `docs/${name}`)]) {
  const path = new URL(page, root)
  const before = readFileSync(path, 'utf8')
  const after = before.replace(
    /(<!-- example: (\S+) -->\n```ts\n)[\s\S]*?```/g,
    (_, opening, example) => `${opening}${readFileSync(new URL(example, root), 'utf8')}\`\`\``,
  )
  if (after !== before) writeFileSync(path, after)
}
