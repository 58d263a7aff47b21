import type { Problem } from '../../authorization-server/pages.ts'

export interface ProblemWords {
  readonly title: string
  /** What happened. */
  readonly what: string
  /** What to do next. */
  readonly next: string
}

const startAgain = 'Go back to your app and connect again.'

/** What each problem page says. `provider` is the name of the provider that it is about. */
export const problemWords = (problem: Problem, provider = 'the sign-in service'): ProblemWords =>
  ({
    client_unknown: {
      title: 'This app is not known here',
      what: 'The app that sent you is not registered with this server, or its registration has expired.',
      next: 'In your app, remove this server and add it again: it then registers anew.',
    },
    client_document_unreachable: {
      title: 'This app can’t be checked right now',
      what: 'The app publishes a description of itself, and this server could not read it.',
      next: 'Please try again from your app in a moment.',
    },
    client_document_refused: {
      title: 'This app’s description can’t be used',
      what: 'The app says that it publishes a description of itself. It is not there, or it is not valid.',
      next: 'Make sure that your app is up to date. If it happens again, tell the people who make the app.',
    },
    redirect_refused: {
      title: 'This link can’t be trusted',
      what: 'The app asked for the answer to be sent to an address that it did not register. Nothing was sent there.',
      next: 'If you came here from your app, remove this server there and add it again. If you followed a link, close this page.',
    },
    request_refused: {
      title: 'The app’s request is not valid',
      what: 'The app asked for access in a way that this server can’t accept.',
      next: 'Try again from your app. If it happens again, tell the people who make the app.',
    },
    too_many_requests: {
      title: 'Too many attempts',
      what: 'There were very many attempts from your network in a short time.',
      next: 'Please wait, then try again from your app.',
    },
    interaction_gone: {
      title: 'This page has expired',
      what: 'It took too long, or the link is not complete.',
      next: startAgain,
    },
    interaction_elsewhere: {
      title: 'This page belongs to another browser',
      what: 'The sign-in began in another browser or window, or this browser does not keep cookies for this site.',
      next: 'Go back to your app and connect again, and finish in the same browser. If it happens again, allow cookies for this site.',
    },
    interaction_answered: {
      title: 'This is already done',
      what: 'You have answered this request before.',
      next: 'You can close this page. If your app is not connected, connect again from there.',
    },
    attempt_gone: {
      title: 'This sign-in was already used',
      what: 'The page was loaded a second time, or a newer sign-in took its place.',
      next: 'Try once more.',
    },
    form_refused: {
      title: 'This form can’t be accepted',
      what: 'It did not come from a page of this server, or the page was out of date.',
      next: startAgain,
    },
    sign_in_denied: {
      title: 'You were not signed in',
      what: `The sign-in with ${provider} was cancelled or refused.`,
      next: 'Try again, or sign in with another account.',
    },
    sign_in_untrusted: {
      title: 'The sign-in could not be verified',
      what: `The answer that came from ${provider} was not one that this server can trust.`,
      next: 'Try again. If it happens again, tell the people who run this server.',
    },
    sign_in_claims: {
      title: 'This account can’t be used here',
      what: `${provider} did not tell this server all that it needs to know about your account.`,
      next: 'Sign in with another account, or ask the people who run this server.',
    },
    sign_in_incomplete: {
      title: 'You need to sign in again',
      what: `The app asks that you prove again who you are, and ${provider} did not ask you.`,
      next: 'Try again, and sign out there first if you can.',
    },
    provider_unavailable: {
      title: 'Sign-in is not available right now',
      what: `${provider} can’t be reached. Nothing is wrong with your account.`,
      next: 'Please try again in a moment.',
    },
    method_refused: {
      title: 'This address is not meant to be used like this',
      what: 'The request was of a kind that this page does not take.',
      next: startAgain,
    },
    unavailable: {
      title: 'Something went wrong on our side',
      what: 'This server has trouble of its own right now. Nothing you did is lost.',
      next: 'Please wait a moment and load this page again.',
    },
  })[problem]

/** @param seconds how long to wait */
export const minutes = (seconds: number): string => {
  if (seconds < 90) return 'a minute'
  return seconds < 3_600 ? `${Math.ceil(seconds / 60)} minutes` : `${Math.ceil(seconds / 3_600)} hours`
}
