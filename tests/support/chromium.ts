import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type Browser, chromium } from 'playwright-core'
import { canInstallPackages, installPackages } from './apt.ts'
import { type Unavailable, unavailable } from './unavailable.ts'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome']

/** No sandbox, because CI is root; nothing in the background, because tests talk to 127.0.0.1 only. */
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** The browser of the tests: `CHROMIUM`, else one that is installed, else (root on Debian) Debian's, installed now. */
export async function findChromium(): Promise<{ readonly executablePath: string } | Unavailable> {
  const named = process.env.CHROMIUM
  if (named !== undefined)
    return isExecutable(named) ? { executablePath: named } : unavailable(`CHROMIUM=${named} does not run`)
  const installed = onPath()
  if (installed !== undefined) return { executablePath: installed }
  if (!canInstallPackages()) return unavailable('no Chromium here: install one, or name it in CHROMIUM')
  await installPackages('chromium')
  const now = onPath()
  return now === undefined ? unavailable('the package chromium brought no browser') : { executablePath: now }
}

/**
 * A headless browser with an empty profile. The caller closes it.
 *
 * @throws {Error} if there is none: ask `findChromium()` first, and skip.
 */
export async function launchBrowser(): Promise<Browser> {
  const found = await findChromium()
  if ('skip' in found) throw new Error(found.skip)
  return chromium.launch({ executablePath: found.executablePath, args: FLAGS, headless: true, timeout: 60_000 })
}

function onPath(): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/bin']
  return NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
