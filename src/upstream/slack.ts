import type { UpstreamClaims } from '../identity/access-token.ts'
import { openid, type PresetOptions } from './openid.ts'
import type { Provider } from './provider.ts'

export interface SlackOptions<Claims = UpstreamClaims> extends PresetOptions<Claims> {
  readonly clientSecret: string
  /** Only people of this workspace, by its id (`T…`): another's id_token is refused. */
  readonly team?: string
}

/**
 * Sign in with Slack. The subject is the person's Slack user id; the workspace is the claim `https://slack.com/team_id`.
 *
 * Set up: a Slack app with the redirect URL `<url>/authorize/callback/slack` and the user scopes `openid`, `profile` and `email`. The token is
 * good for sign-in alone: an app that calls Slack for people needs Slack's own OAuth. Nothing is revoked there.
 *
 * @see https://docs.slack.dev/authentication/sign-in-with-slack/
 * @see https://docs.slack.dev/reference/methods/openid.connect.token
 */
export const slack = <Claims = UpstreamClaims>(options: SlackOptions<Claims>): Provider<Claims> => {
  const { team, ...common } = options
  return openid({
    id: 'slack',
    name: 'Slack',
    ...common,
    issuer: 'https://slack.com',
    clientAuthentication: 'client_secret_post',
    revokeTokens: false,
    ...(team === undefined
      ? {}
      : {
          authorizationParameters: { team },
          check: (said) => (said['https://slack.com/team_id'] === team ? undefined : 'not of the configured workspace'),
        }),
  })
}
