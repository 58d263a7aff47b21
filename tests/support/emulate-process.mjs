// Emulators of real providers, in a process of their own because they need a newer Node. `EMULATE`: the package's folder and what to start.
import { Server } from 'node:net'
import { pathToFileURL } from 'node:url'

const { folder, services } = JSON.parse(process.env.EMULATE ?? '{}')
const { createEmulator } = await import(pathToFileURL(`${folder}/dist/api.js`).href)

// An emulator tells the address that it was given, and not the port that the system chose for it.
let newest
const { listen } = Server.prototype
Server.prototype.listen = function (...args) {
  newest = this
  return listen.apply(this, args)
}

for (const { service, baseUrl, seed } of services) {
  await createEmulator({ service, port: 0, hostname: '127.0.0.1', baseUrl, seed: { [service]: seed } })
  console.log(`listening ${service} ${newest.address().port}`)
}
console.log('ready')
process.once('SIGTERM', () => process.exit(0))
