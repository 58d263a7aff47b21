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
 * good for sign-in alone: an app that calls Slack for people needs Slack's own OAuth. Errors come with status 200. Nothing is revoked there.
 *
 * @see https://docs.slack.dev/authentication/sign-in-with-slack/
 * @see https://docs.slack.dev/reference/methods/openid.connect.token
 * @see https://docs.slack.dev/reference/methods/openid.connect.userInfo
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
    errors,
    ...(team === undefined
      ? {}
      : {
          authorizationParameters: { team },
          check: (said) => (said['https://slack.com/team_id'] === team ? undefined : 'not of the configured workspace'),
        }),
  })
}

const errors = {
  ...{ invalid_code: 'invalid_grant', code_already_used: 'invalid_grant', invalid_refresh_token: 'invalid_grant' },
  ...{ invalid_client_id: 'invalid_client', bad_client_secret: 'invalid_client', bad_redirect_uri: 'invalid_request' },
  // The person was removed from the workspace, or took the app away. `invalid_auth` may be our own address, so it is no "no".
  ...{ account_inactive: 'invalid_token', token_revoked: 'invalid_token', token_expired: 'invalid_token' },
}
