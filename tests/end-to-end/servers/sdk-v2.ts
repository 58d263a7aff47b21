import { getRequestListener } from '@hono/node-server'
import { notesServer } from '../../../examples/notes.ts'
import { start } from './setting.ts'

// The example's notes, on SDK v2 and Hono, with the settings that a test wants.
await start((options) => {
  const { app, auth } = notesServer(options)
  return { auth, listener: getRequestListener(app.fetch) }
})
