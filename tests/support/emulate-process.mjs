// Emulators of real providers, in a process of their own because they need a newer Node. `EMULATE`: the package's folder and what to start.
import { once } from 'node:events'
import { createServer } from 'node:net'
import { pathToFileURL } from 'node:url'

const { folder, services } = JSON.parse(process.env.EMULATE ?? '{}')
const { createEmulator } = await import(pathToFileURL(`${folder}/dist/api.js`).href)

const freePort = async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

for (const { service, baseUrl, seed } of services) {
  const port = await freePort()
  await createEmulator({ service, port, hostname: '127.0.0.1', baseUrl, seed: { [service]: seed } })
  console.log(`listening ${service} ${port}`)
}
console.log('ready')
process.once('SIGTERM', () => process.exit(0))
