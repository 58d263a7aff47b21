/** What Node takes to load the packages that an authorization server stands on, and nothing else. */
import '@hono/node-server'
import 'hono'
import 'jose'
import 'zod'
import { report } from '../harness/measured.ts'

report(0)
