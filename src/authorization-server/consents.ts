import { consentCovers } from '../policy/consent.ts'
import { consentRef } from '../records/consent.ts'
import type { AuthorizationRequest, ResourceScopes } from '../records/interaction.ts'
import { put, type Unit } from '../records/records.ts'
import type { ServerContext } from './context.ts'

/** What a person allowed a client so far is read and written with the grant that stands on it: a person may disconnect at the same time. */
type WithGrant = Pick<Unit, 'unchanged' | 'puts'>

/** The person disconnected the client. */
export class ConsentWithdrawn extends Error {
  override readonly name = 'ConsentWithdrawn'
}

const readConsents = async (
  { records }: ServerContext,
  { clientId, redirectHost }: AuthorizationRequest,
  account: string,
  resources: ResourceScopes,
) => {
  const refs = Object.keys(resources).map((resource) => consentRef(account, clientId, redirectHost, resource))
  const { values, now } = await records.get(...refs)
  const consents = Object.entries(resources).flatMap(([resource, scopes], index) => {
    const ref = refs[index]
    return ref ? [{ resource, scopes, ref, stored: values[index] }] : []
  })
  return { consents, now }
}

/** What this account allowed this client before, of the resources that are asked for; those without a consent are left out. */
export const rememberedScopes = async (
  server: ServerContext,
  request: AuthorizationRequest,
  account: string,
): Promise<ResourceScopes> => {
  const { consents } = await readConsents(server, request, account, request.resources)
  return Object.fromEntries(
    consents.flatMap(({ resource, stored }) => (stored ? [[resource, stored.value.scopes]] : [])),
  )
}

/** What a grant without a question stands on: consents that cover it still. @throws ConsentWithdrawn */
export const standingConsents = async (
  server: ServerContext,
  request: AuthorizationRequest,
  account: string,
): Promise<WithGrant> => {
  const { consents } = await readConsents(server, request, account, request.resources)
  const unchanged = consents.map(({ stored, scopes }) => {
    if (stored && consentCovers(stored.value.scopes, scopes)) return stored
    throw new ConsentWithdrawn('the consent was withdrawn')
  })
  return { unchanged }
}

/** What a person has just allowed, remembered for each resource: it accumulates. */
export const enlargedConsents = async (
  server: ServerContext,
  request: AuthorizationRequest,
  account: string,
  resources: ResourceScopes,
): Promise<WithGrant> => {
  const { clientId, redirectHost } = request
  const { consents, now } = await readConsents(server, request, account, resources)
  return {
    unchanged: consents.map(({ stored, ref }) => stored ?? ref),
    puts: consents.map(({ resource, scopes, ref, stored }) =>
      put(ref, {
        account,
        clientId,
        redirectHost,
        resource,
        scopes: [...new Set([...(stored?.value.scopes ?? []), ...scopes])],
        createdAt: stored?.value.createdAt ?? now,
        updatedAt: now,
      }),
    ),
  }
}
