/**
 * Set-up of each test file: connections to its servers stay open. Node ends one that was idle for 5 s; on a machine so busy that the
 * process stood still for as long, that happens at the very moment at which a client uses it again, and is a failure that nobody means.
 */
import { Server } from 'node:http'
import { Server as SecureServer } from 'node:https'

for (const { prototype } of [Server, SecureServer]) {
  const { listen } = prototype
  prototype.listen = function (this: Server | SecureServer, ...options: unknown[]) {
    this.keepAliveTimeout = 600_000
    return Reflect.apply(listen, this, options)
  }
}
