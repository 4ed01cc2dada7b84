import type { AccessToken, TokenCredential } from '@azure/identity'
import type { Connection } from '../../connections/connection.ts'
import type { RequestAgents } from '../strategy.ts'
import { ANY_TENANT, authorityOf, PUBLIC_CLIENT } from './cloud.ts'
import type { AuthorityObservation } from './failure.ts'
import { type AzureOptions, credentialKind } from './fields.ts'

export type Identity = typeof import('@azure/identity')
export type PipelineOptions = NonNullable<ConstructorParameters<Identity['ClientSecretCredential']>[3]>

/** One try to get a token: what ends it, and what is seen meanwhile. */
export interface Attempt {
  readonly signal: AbortSignal
  readonly observation: AuthorityObservation
}

/**
 * One token, by a credential object made for it alone: MSAL keeps tokens in the object, and gives the same one until
 * shortly before its end, which is of no use to a renewal and of none after a refused login.
 */
export async function fetchAzureToken(
  identity: Identity,
  options: AzureOptions,
  scope: string,
  attempt: Attempt,
  connection: Pick<Connection, 'login' | 'password'> = {},
  agents?: RequestAgents,
): Promise<AccessToken> {
  const credential = azureCredential(identity, options, connection, pipeline(options, attempt, agents))
  return tokenOf(credential, scope, attempt.signal)
}

export async function tokenOf(credential: TokenCredential, scope: string, signal: AbortSignal): Promise<AccessToken> {
  const token = await credential.getToken(scope, { abortSignal: signal })
  if (token === null) throw new Error('no token was given')
  return token
}

function azureCredential(
  identity: Identity,
  options: AzureOptions,
  connection: Pick<Connection, 'login' | 'password'>,
  shared: PipelineOptions,
): TokenCredential {
  const { tenant_id: tenantId, client_id: clientId } = options
  switch (credentialKind(options)) {
    case 'service_principal':
      return servicePrincipal(identity, options, { ...shared, retryOptions: { maxRetries: 0 } })
    case 'workload_identity':
      return new identity.WorkloadIdentityCredential({
        ...shared,
        retryOptions: { maxRetries: 0 },
        ...defined({ tenantId, clientId, tokenFilePath: options.federated_token_file }),
      })
    case 'managed_identity':
      return managedIdentity(identity, options, shared)
    case 'cli':
      return new identity.AzureCliCredential(defined({ tenantId }))
    case 'password':
      return new identity.UsernamePasswordCredential(
        tenantId ?? ANY_TENANT,
        clientId ?? PUBLIC_CLIENT,
        options.azure_username ?? connection.login ?? '',
        connection.password?.reveal() ?? '',
        { ...shared, retryOptions: { maxRetries: 0 } },
      )
    case 'interactive':
    case 'device_code':
    case 'integrated':
      throw new TypeError('Not by one credential of the SDK: see sign-in.ts and federation/sign-in.ts.')
    case 'default':
      return new identity.DefaultAzureCredential({
        ...shared,
        ...defined({
          tenantId,
          workloadIdentityClientId: clientId,
          managedIdentityClientId: options.managed_identity_client_id,
        }),
      })
  }
}

function servicePrincipal(identity: Identity, options: AzureOptions, shared: PipelineOptions): TokenCredential {
  // azureProblems has made sure of both.
  const { tenant_id: tenantId = '', client_id: clientId = '', client_certificate_path: certificatePath } = options
  if (certificatePath === undefined) {
    return new identity.ClientSecretCredential(tenantId, clientId, options.client_secret?.reveal() ?? '', shared)
  }
  return new identity.ClientCertificateCredential(
    tenantId,
    clientId,
    { certificatePath, ...defined({ certificatePassword: options.client_certificate_password?.reveal() }) },
    shared,
  )
}

/** Its retries stay with the SDK, which knows how long the metadata service may be away (404 and 410 included). */
function managedIdentity(identity: Identity, options: AzureOptions, shared: PipelineOptions): TokenCredential {
  const { managed_identity_client_id: clientId, managed_identity_resource_id: resourceId } = options
  if (resourceId !== undefined) return new identity.ManagedIdentityCredential({ ...shared, resourceId })
  return new identity.ManagedIdentityCredential({ ...shared, ...defined({ clientId }) })
}

/**
 * MSAL hands neither the caller's signal to its requests nor their outcome to the caller: a policy in the SDK's own
 * HTTP pipeline does both, and says which way requests go.
 */
export function pipeline(
  options: AzureOptions,
  /** Looked at anew for each request, for a credential that outlives the attempt that it was made in. */
  attempt: Attempt,
  agents: RequestAgents | undefined,
): PipelineOptions {
  return {
    authorityHost: options.authority_host ?? authorityOf(options.cloud),
    disableInstanceDiscovery: options.disable_instance_discovery,
    additionalPolicies: [
      {
        position: 'perCall',
        policy: {
          name: 'poolsmithObservation',
          async sendRequest(request, next) {
            const { signal, observation } = attempt
            request.abortSignal = signal
            // The SDK's own reading of HTTPS_PROXY gives way to an agent that is there already.
            if (agents !== undefined) request.agent = request.url.startsWith('http:') ? agents.http : agents.https
            try {
              const response = await next(request)
              observation.status = response.status
              observation.retryAfter = response.headers.get('retry-after')
              return response
            } catch (error) {
              observation.error = error
              throw error
            }
          },
        },
      },
    ],
  }
}

/** Without the keys that have no value: the SDK tells "not given" from "given as undefined". */
export function defined<T extends Record<string, string | undefined>>(values: T): { [K in keyof T]?: string } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: string
  }
}
