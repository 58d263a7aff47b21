/** What was typed is no command: the message says what is wrong with it. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** What was asked for can't be done; the message is for who asked. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed'
}

export const usage = `countersign: administration of a Countersign server, beside it or without it

  clients list | show ID | create [--public] CLIENT | update ID [--public | --confidential] CLIENT | delete ID
  grants list (--account ID | --client ID) | revoke ID
  accounts list | show ID | find --issuer ISSUER --subject SUBJECT | delete ID
  keys list | rotate [--use sign|seal|mac] [--compromised] | reseal
  audit query [--account ID] [--client ID] [--grant ID] [--type TYPE]… [--from TIME] [--to TIME] [--limit N] [--cursor C] [--oldest-first]
  store check [--count] | export [--file FILE] | import [--file FILE]
  migrate

CLIENT: what a client is and may do. An update replaces all of it: what is left out is gone. Resources are those of --config
  --name NAME, --uri URI, --redirect-uri URI…
  --jwks FILE | --jwks-uri URI  in place of a secret: its public keys (a JWK Set, or one JWK), or where it publishes them
  --grant-type TYPE…          if not those that follow from the rest
  --scopes "RESOURCE SCOPE…"… what it may have for itself (client_credentials)
  --introspects RESOURCE…     whose tokens it may ask about
  --exchange                  token exchange, and what for: --exchange-serves RESOURCE…, --exchange-from CLIENT…,
                              --exchange-to "RESOURCE SCOPE…"…, --exchange-actor CLIENT…, --exchange-upstream PROVIDER…, --exchange-impersonates
  --may-act CLIENT            who may act for the people who granted something to it
  --dpop-bound, --require-pushed-requests

Which server
  --config FILE       a module whose default export is the options of countersign(), or a JSON file of settings; COUNTERSIGN_CONFIG
  --store STORE       the path of an SQLite file, postgres://… or redis://…; COUNTERSIGN_STORE
  --secret-file FILE  the secrets, one a line, the newest first; COUNTERSIGN_SECRET_FILE, or COUNTERSIGN_SECRET.
                      Without it: the file that lies beside an SQLite store
  --url URL           the issuer; COUNTERSIGN_URL
  --audit LOG         where audit events are kept: the path of an SQLite file, or postgres://…; COUNTERSIGN_AUDIT

  --json              prints JSON
  --help, --version

A secret is never taken from the command line, where other users of the computer can read it.
Exit code: 0 done, 1 failed or not found, 2 not a command.
`
