import type { AccessToken } from '@azure/identity'
import type { Connection } from '../connections/connection.ts'
import { type RefreshingSourceOptions, refreshingSource } from '../credentials/refreshing-source.ts'
import { loadPackage } from '../optional-package.ts'
import { Secret } from '../secret.ts'
import { subjectOf } from './azure/claims.ts'
import { scopeOf } from './azure/cloud.ts'
import { azureFailure, lastOf } from './azure/failure.ts'
import {
  type AzureCredentialKind,
  type AzureOptions,
  asksPerson,
  azureFields,
  azureProblems,
  credentialKind,
} from './azure/fields.ts'
import type { Attempt } from './azure/pipeline.ts'
import { fetchAzureToken } from './azure/token.ts'
import { LATE_METADATA_ATTEMPTS } from './metadata.ts'
import { refuse } from './refuse.ts'
import { settled } from './settled.ts'
import { defineStrategy, type StrategyContext } from './strategy.ts'
import type { SupervisedRequest } from './supervise.ts'
import { ticketCache } from './ticket-cache.ts'

/** The time before and after the sign-in of a person: for requests to Entra, and opening the connection. */
const SIGN_IN_GRACE_SECONDS = 30
const PASSWORD_WARNING = {
  code: 'PASSWORD_TO_ENTRA',
  message:
    "azure_credential=password hands a person's password to Entra: Microsoft has deprecated it, and no account with a second factor gets in by it.",
}

export const azureAd = defineStrategy({
  name: 'azure_ad',
  aliases: ['entra'],
  dialects: ['postgres', 'mssql'],
  description:
    'A Microsoft Entra token by @azure/identity: default chain, service principal, managed or workload identity, or an interactive sign-in; or by a Kerberos ticket.',
  fields: azureFields,
  defaults: { sslmode: 'verify-full' },
  defaultsFor: (options) =>
    asksPerson(credentialKind(options)) ? { pool_timeout: options.sign_in_timeout + SIGN_IN_GRACE_SECONDS } : {},
  check: (connection, options, environment) => azureProblems(options, environment, connection),
  async credentials(connection, options, context) {
    const { emit, environment } = context
    refuse(azureProblems(options, environment, connection))
    const secrets = [options.client_secret, options.client_certificate_password, connection.password]
    const cache = ticketCache(options, environment)
    const fetchToken = await fetcher(connection, options, context, cache.name)
    const source = refreshingSource({
      emit,
      ...attemptsFor(credentialKind(options), options),
      fetch: settled(async (signal) => {
        const requests: SupervisedRequest[] = []
        try {
          const { token, expiresOnTimestamp } = await fetchToken({ signal, requests })
          return {
            kind: 'token',
            identity: subjectOf(token) ?? options.client_id ?? connection.login ?? 'unknown',
            ...(connection.login === undefined ? {} : { user: connection.login }),
            token: new Secret(token),
            issuedAt: Date.now(),
            expiresAt: expiresOnTimestamp,
          }
        } catch (error) {
          throw azureFailure(error, lastOf(requests), secrets)
        }
      }),
    })
    return cache.endWith(source)
  },
})

function attemptsFor(
  kind: AzureCredentialKind,
  { sign_in_timeout: signInSeconds }: AzureOptions,
): Pick<RefreshingSourceOptions, 'maxAttempts' | 'fetchTimeoutMillis'> {
  // A person is asked once, not five times in a row.
  if (asksPerson(kind)) return { fetchTimeoutMillis: (signInSeconds + SIGN_IN_GRACE_SECONDS) * 1000, maxAttempts: 1 }
  return kind === 'managed_identity' || kind === 'default' ? { maxAttempts: LATE_METADATA_ATTEMPTS } : {}
}

/** How a token is got under the options. The ways that few go, and HTTP with them, are loaded by who goes them. */
async function fetcher(
  connection: Connection,
  options: AzureOptions,
  { emit, environment, agents, listens }: StrategyContext,
  cache: string | undefined,
): Promise<(attempt: Attempt) => Promise<Pick<AccessToken, 'token' | 'expiresOnTimestamp'>>> {
  const scope = options.scope ?? scopeOf(options.cloud, connection.type)
  const kind = credentialKind(options)
  const { login } = connection
  if (kind === 'integrated') {
    const { ticketSignIn } = await import('./azure/federation/sign-in.ts')
    return ticketSignIn(options, scope, { login, cache, agents })
  }
  const identity = await loadPackage('@azure/identity', () => import('@azure/identity'), 'auth_method=azure_ad')
  if (kind === 'password') emit('security:warning', PASSWORD_WARNING)
  if (!asksPerson(kind))
    return (attempt) => fetchAzureToken(identity, options, scope, attempt, { connection, environment, agents })
  const { personSignIn } = await import('./azure/sign-in.ts')
  return personSignIn(identity, options, scope, { kind, login, emit, environment, agents, listens })
}
