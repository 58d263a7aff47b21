import { expect, test } from 'vitest'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import { grantRef } from '../../src/records/grant.ts'
import { type AuthorizationRequest, interactionRef } from '../../src/records/interaction.ts'
import { put, recordType, refTo } from '../../src/records/records.ts'
import { approved, mcp, redeem, refresh, registered, testServer } from '../support/authorization-server.ts'
import { authorizeUrl, personServer, redeemed, signInAs } from '../support/person.ts'

// Nodes of two releases may share a store: what the one before wrote goes on.

test('design 5, rolling deploys: a grant that was written when there was one kind of them', async () => {
  const to = await testServer()
  const client = await registered(to)
  const code = await approved(to, client)
  const { records } = to.server
  const [stored] = (await records.get(grantRef(code.grant))).values
  const before = recordType<object>({ name: 'grant', schema: 1, sealed: false })
  await records.commit({ puts: [put(refTo(before, code.grant), { ...stored?.value, kind: 'user' })] })
  const { status, body } = await redeem(to, client, code)
  expect(status).toBe(200)
  const again = await refresh(to, client, body.refresh_token)
  expect(await createOwnVerifier(to.server).verify(again.body.access_token, mcp)).toMatchObject({
    kind: 'user',
    subject: code.subject,
  })
})

test('design 5, rolling deploys: an authorization that began when a request was for one resource', async () => {
  const to = await personServer()
  await to.addClient({ id: 'app' })
  const browser = to.browser()
  const page = await browser.open(authorizeUrl(to))
  const id = new URL(page.url).searchParams.get('interaction') ?? ''
  const { records } = to.server
  const [stored] = (await records.get(interactionRef(id))).values
  if (!stored) throw new Error('no interaction')
  const { resources, ...request } = stored.value.request as AuthorizationRequest
  const [[resource, scopes] = ['', []]] = Object.entries(resources)
  const before = recordType<object>({ name: 'interaction', schema: 1, sealed: true })
  const value = { ...stored.value, request: { ...request, resource, scopes } }
  await records.commit({ puts: [put(refTo(before, id), value)] })
  const { left } = await signInAs(browser, await browser.submit(page, 'approve', {}, ['notes:read']), 'Alice')
  expect(await redeemed(to, left)).toMatchObject({ token_type: 'Bearer', scope: 'notes:read' })
})
