/** Selects the SDK's credential for the identity that the options and the environment name, and for no other. */

import type { TokenCredential } from '@azure/identity'
import type { Connection } from '../../connections/connection.ts'
import type { LoadedCertificate } from '../../credentials/certificate-files.ts'
import { PoolsmithError } from '../../errors.ts'
import type { RequestAgents, StrategyContext } from '../strategy.ts'
import { ANY_TENANT, PUBLIC_CLIENT } from './cloud.ts'
import { type DefaultIdentity, defaultIdentity } from './default-identity.ts'
import { type AzureOptions, credentialKind } from './fields.ts'
import { defined, type Identity, type PipelineOptions } from './pipeline.ts'

export interface TokenContext {
  readonly connection: Pick<Connection, 'login' | 'password'>
  readonly environment: StrategyContext['environment']
  readonly agents?: RequestAgents | undefined
  /** Of the application, where a certificate proves it. */
  readonly certificate?: LoadedCertificate | undefined
}

export interface ChosenCredential {
  readonly credential: TokenCredential
  /** The application that the token must be issued to, where one is named. */
  readonly clientId?: string | undefined
}

export function chooseCredential(
  identity: Identity,
  options: AzureOptions,
  { connection, environment, certificate }: TokenContext,
  shared: PipelineOptions,
): ChosenCredential {
  const { tenant_id: tenantId, client_id: clientId } = options
  switch (credentialKind(options)) {
    case 'service_principal':
      return { credential: servicePrincipal(identity, options, certificate, shared), clientId }
    case 'workload_identity': {
      const given = defined({ tenantId, clientId, tokenFilePath: options.federated_token_file })
      const credential = new identity.WorkloadIdentityCredential({ ...shared, ...given })
      return { credential, clientId: clientId ?? environment.AZURE_CLIENT_ID }
    }
    case 'managed_identity':
      return managedIdentity(identity, options, shared)
    case 'cli':
      return { credential: new identity.AzureCliCredential(defined({ tenantId })) }
    case 'password': {
      const user = options.azure_username ?? connection.login ?? ''
      const password = connection.password?.reveal() ?? ''
      const [tenant, client] = [tenantId ?? ANY_TENANT, clientId ?? PUBLIC_CLIENT]
      return { credential: new identity.UsernamePasswordCredential(tenant, client, user, password, shared) }
    }
    case 'interactive':
    case 'device_code':
    case 'integrated':
      throw new TypeError('Not by one credential of the SDK: see sign-in.ts and federation/sign-in.ts.')
    case 'default':
      return byDefault(identity, defaultIdentity(options, environment), { tenantId, environment, certificate, shared })
  }
}

function byDefault(
  identity: Identity,
  found: DefaultIdentity,
  {
    tenantId,
    environment,
    certificate,
    shared,
  }: Pick<TokenContext, 'environment' | 'certificate'> & { tenantId: string | undefined; shared: PipelineOptions },
): ChosenCredential {
  switch (found.kind) {
    case 'environment':
      return {
        credential: ofEnvironment(identity, found, { environment, certificate, shared }),
        clientId: found.clientId,
      }
    case 'workload_identity': {
      const { clientId, tokenFilePath } = found
      const credential = new identity.WorkloadIdentityCredential({
        ...shared,
        clientId,
        tenantId: found.tenantId,
        tokenFilePath,
      })
      return { credential, clientId }
    }
    case 'managed_identity':
      return {
        credential: new identity.ManagedIdentityCredential({ ...shared, clientId: found.clientId }),
        clientId: found.clientId,
      }
    case 'chain':
      return { credential: new identity.DefaultAzureCredential({ ...shared, ...defined({ tenantId }) }) }
    case 'incomplete':
      throw new PoolsmithError(`${found.message}.`, {
        code: 'CREDENTIAL_MISSING',
        phase: 'credential',
        hint: 'Complete it or unset it, or set azure_credential to the identity that you mean: no other one is used in its place.',
      })
  }
}

function ofEnvironment(
  identity: Identity,
  { clientId, tenantId, proof }: Extract<DefaultIdentity, { kind: 'environment' }>,
  {
    environment,
    certificate,
    shared,
  }: Pick<TokenContext, 'environment' | 'certificate'> & { readonly shared: PipelineOptions },
): TokenCredential {
  const proven = environment[proof] ?? ''
  switch (proof) {
    case 'AZURE_CLIENT_SECRET':
      return new identity.ClientSecretCredential(tenantId, clientId, proven, shared)
    case 'AZURE_CLIENT_CERTIFICATE_PATH': {
      const sendCertificateChain = ['1', 'true'].includes(
        environment.AZURE_CLIENT_SEND_CERTIFICATE_CHAIN?.toLowerCase() ?? '',
      )
      return new identity.ClientCertificateCredential(tenantId, clientId, pemOf(certificate), {
        ...shared,
        sendCertificateChain,
      })
    }
    case 'AZURE_PASSWORD':
      return new identity.UsernamePasswordCredential(
        tenantId,
        clientId,
        environment.AZURE_USERNAME ?? '',
        proven,
        shared,
      )
  }
}

function servicePrincipal(
  identity: Identity,
  options: AzureOptions,
  certificate: LoadedCertificate | undefined,
  shared: PipelineOptions,
): TokenCredential {
  // azureProblems has made sure of both.
  const { tenant_id: tenantId = '', client_id: clientId = '' } = options
  return certificate === undefined
    ? new identity.ClientSecretCredential(tenantId, clientId, options.client_secret?.reveal() ?? '', shared)
    : new identity.ClientCertificateCredential(tenantId, clientId, pemOf(certificate), shared)
}

/** As the SDK takes it: the text of the file, which holds both. */
function pemOf(loaded: LoadedCertificate | undefined) {
  if (loaded === undefined) throw new Error('The certificate of the application was not read.')
  const password = defined({ certificatePassword: loaded.passphrase?.reveal() })
  return { certificate: loaded.privateKey.reveal(), ...password }
}

function managedIdentity(identity: Identity, options: AzureOptions, shared: PipelineOptions): ChosenCredential {
  const { managed_identity_resource_id: resourceId } = options
  if (resourceId !== undefined) {
    return { credential: new identity.ManagedIdentityCredential({ ...shared, resourceId }) }
  }
  const clientId = options.managed_identity_client_id ?? options.client_id
  return { credential: new identity.ManagedIdentityCredential({ ...shared, ...defined({ clientId }) }), clientId }
}
