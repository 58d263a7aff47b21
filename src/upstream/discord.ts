import type { UpstreamClaims } from '../identity/access-token.ts'
import type { JsonObject } from '../identity/json.ts'
import { type Oauth2PresetOptions, oauth2 } from './oauth2.ts'
import type { Provider } from './provider.ts'

export interface DiscordOptions<Claims = UpstreamClaims> extends Oauth2PresetOptions<Claims> {
  readonly clientSecret: string
  /** Whether to ask which servers the person is in, as the claim `guilds`. Needs the scope `guilds`. */
  readonly guilds?: boolean
}

/**
 * Sign in with Discord.
 *
 * The subject is the account's id (a snowflake). Claims: all of `/users/@me`, and made of them `preferred_username`, `name` (the display name),
 * `picture`, and `email_verified`.
 *
 * Set up: an application with the redirect `<url>/authorize/callback/discord`. Access tokens live seven days, with a refresh token. Revoking one
 * ends all that the person gave this application, so nothing is revoked there.
 *
 * @see https://discord.com/developers/docs/topics/oauth2
 */
export const discord = <Claims = UpstreamClaims>(options: DiscordOptions<Claims>): Provider<Claims> => {
  const { guilds = false, ...common } = options
  const api = 'https://discord.com/api/v10'
  return oauth2({
    id: 'discord',
    name: 'Discord',
    ...common,
    issuer: 'https://discord.com',
    authorizationEndpoint: 'https://discord.com/oauth2/authorize',
    tokenEndpoint: `${api}/oauth2/token`,
    scopes: options.scopes ?? ['identify', 'email', ...(guilds ? ['guilds'] : [])],
    user: {
      url: `${api}/users/@me`,
      subject: 'id',
      ...(guilds ? { more: { guilds: `${api}/users/@me/guilds` } } : {}),
    },
    derive: standardClaims,
  })
}

/** @see OpenID Connect Core §5.1 */
const standardClaims = ({ id, username, global_name, avatar, verified }: JsonObject): JsonObject => ({
  ...(typeof username === 'string' ? { preferred_username: username } : {}),
  ...(typeof global_name === 'string' ? { name: global_name } : {}),
  ...(typeof avatar === 'string' ? { picture: `https://cdn.discordapp.com/avatars/${id}/${avatar}.png` } : {}),
  ...(typeof verified === 'boolean' ? { email_verified: verified } : {}),
})
