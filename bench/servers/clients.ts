/** The clients that both sides know: one that acts for itself, one that asks what tokens say, one that acts for people. */
export const SECRET = 'a client secret of more than 32 characters'
export const MACHINE = 'machine'
export const RESOURCE_SERVER = 'resource-server'
export const AGENT = 'agent'

export const basic = (id: string): { readonly authorization: string } => ({
  authorization: `Basic ${Buffer.from(`${id}:${encodeURIComponent(SECRET)}`).toString('base64')}`,
})
