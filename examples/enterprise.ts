import { countersign } from 'countersign'
import { okta } from 'countersign/upstream/okta'

/** People of Acme come by their own Okta, from the apps that Acme's administrators allow; builds and pods come by their platforms. */
export const authForAcme = (settings: { url: string; secret: string; okta: string; agentSecret: string }) =>
  countersign({
    url: settings.url,
    secret: settings.secret,
    resources: { '/mcp': { scopes: { 'notes:read': 'Read your notes', 'notes:write': 'Add and change your notes' } } },
    // Who comes with a browser signs in there too, and is the same person here.
    upstream: okta({ domain: 'acme.okta.com', clientId: 'notes', clientSecret: settings.okta }),
    assertions: [
      { kind: 'enterprise', issuer: 'https://acme.okta.com', provider: 'okta' },
      {
        kind: 'workload',
        issuer: 'https://token.actions.githubusercontent.com',
        provider: 'github-actions',
        audience: settings.url,
        workloads: [
          {
            client: 'deploy',
            subject: 'repo:acme/notes:ref:refs/heads/main',
            // Names can be given up and taken by others; numbers can't.
            claims: { repository_owner_id: '4242' },
          },
        ],
      },
      {
        kind: 'workload',
        issuer: 'https://kubernetes.default.svc.cluster.local',
        provider: 'kubernetes',
        jwksUri: 'https://keys.acme.example/cluster/jwks.json',
        audience: settings.url,
        workloads: [{ client: 'reports', subject: 'system:serviceaccount:production:*' }],
      },
    ],
    clients: [
      { id: 'acme-agent', name: 'Acme Agent', secret: settings.agentSecret },
      { id: 'deploy', name: 'Deployments', scopes: { '/mcp': ['notes:write'] } },
      { id: 'reports', name: 'Reports', scopes: { '/mcp': ['notes:read'] } },
    ],
  })
