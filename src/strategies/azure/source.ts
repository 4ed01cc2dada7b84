import type { AccessToken } from '@azure/identity'
import type { Connection } from '../../connections/connection.ts'
import type { CredentialSource } from '../../credentials/credential.ts'
import { type RefreshingSourceOptions, refreshingSource } from '../../credentials/refreshing-source.ts'
import type { Emit } from '../../events.ts'
import { loadPackage } from '../../optional-package.ts'
import { Secret } from '../../secret.ts'
import { ticketCache } from '../kerberos/ticket-cache.ts'
import { LATE_METADATA_ATTEMPTS } from '../metadata.ts'
import { settled } from '../settled.ts'
import type { StrategyContext } from '../strategy.ts'
import type { SupervisedRequest } from '../supervise.ts'
import { assertTokenFile } from '../token-file.ts'
import { applicationCertificate } from './application-certificate.ts'
import { subjectOf } from './claims.ts'
import { scopeOf } from './cloud.ts'
import { defaultIdentity } from './default-identity.ts'
import { azureFailure, lastOf } from './failure.ts'
import {
  type AzureCredentialKind,
  type AzureOptions,
  asksPerson,
  credentialKind,
  SIGN_IN_GRACE_SECONDS,
} from './fields.ts'
import type { Attempt } from './pipeline.ts'
import { fetchAzureToken } from './token.ts'

const PASSWORD_WARNING = {
  code: 'PASSWORD_TO_ENTRA',
  message:
    "azure_credential=password hands a person's password to Entra: Microsoft has deprecated it, and no account with a second factor gets in by it.",
}

/**
 * Tokens of the identity that the options name.
 *
 * @param maxAttempts in a row. Default: as the identity needs them
 */
export async function tokenSource(
  connection: Connection,
  options: AzureOptions,
  context: StrategyContext,
  maxAttempts?: number,
): Promise<CredentialSource> {
  const { emit, environment } = context
  const secrets = [options.client_secret, options.client_certificate_password, connection.password]
  const cache = ticketCache(options, environment)
  const fetchToken = await fetcher(connection, options, context, cache.name)
  const source = refreshingSource({
    emit,
    ...attemptsFor(credentialKind(options), options),
    ...(maxAttempts === undefined ? {} : { maxAttempts }),
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
}

/**
 * Tokens for a store, asked for once at a time: what fails is told as a failure of the store. The record's login and
 * password are those of the database.
 */
export function storeTokenSource(
  options: AzureOptions,
  scope: string,
  { emit, ...context }: Omit<StrategyContext, 'settings'>,
): Promise<CredentialSource> {
  const asked: Emit = (name, facts) => {
    if (name === 'credential:prompt' || name === 'security:warning') emit(name, facts)
  }
  const noRecord = { type: 'postgres', extra: {} } as const
  return tokenSource(noRecord, { ...options, scope }, { ...context, emit: asked, settings: {} }, 1)
}

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
    const { ticketSignIn } = await import('./federation/sign-in.ts')
    return ticketSignIn(options, scope, { login, cache, agents })
  }
  const identity = await loadPackage('@azure/identity', () => import('@azure/identity'), 'auth_method=azure_ad')
  if (kind === 'password') emit('security:warning', PASSWORD_WARNING)
  if (!asksPerson(kind)) {
    const certificate = applicationCertificate(options, { emit, environment })
    const tokenFile = federatedTokenFile(options, environment)
    return async (attempt) => {
      if (tokenFile !== undefined) await assertTokenFile(tokenFile, 'federated_token_file')
      const given = { connection, environment, agents, certificate: await certificate?.() }
      return fetchAzureToken(identity, options, scope, attempt, given)
    }
  }
  const { personSignIn } = await import('./sign-in.ts')
  return personSignIn(identity, options, scope, { kind, login, emit, environment, agents, listens })
}

/** The file with the token of a workload identity; undefined for any other identity. */
function federatedTokenFile(options: AzureOptions, environment: StrategyContext['environment']): string | undefined {
  const kind = credentialKind(options)
  if (kind === 'workload_identity') return options.federated_token_file ?? environment.AZURE_FEDERATED_TOKEN_FILE
  const found = kind === 'default' ? defaultIdentity(options, environment) : undefined
  return found?.kind === 'workload_identity' ? found.tokenFilePath : undefined
}
