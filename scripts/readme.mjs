// Writes the examples into the README: `node scripts/readme.mjs`. A test sees to it that it was not forgotten.
import { readFileSync, writeFileSync } from 'node:fs'

const path = new URL('../README.md', import.meta.url)
const readme = readFileSync(path, 'utf8').replace(
  /(<!-- example: (\S+) -->\n```ts\n)[\s\S]*?```/g,
  (_, opening, example) => `${opening}${readFileSync(new URL(`../${example}`, import.meta.url), 'utf8')}\`\`\``,
)
writeFileSync(path, readme)
