/** The proofs of identities by which Vault is logged in to. The code for each is loaded when it is first used. */

import { PoolsmithError } from '../errors.ts'
import type { VaultProofs } from '../vault/context.ts'
import type { AzureOptions } from './azure/fields.ts'
import { credentialTimeout } from './credential-timeout.ts'
import type { GoogleOptions } from './google/fields.ts'
import type { StrategyContext } from './strategy.ts'
import type { VaultLoginOptions } from './vault-login.ts'

export interface VaultProofsContext extends Pick<StrategyContext, 'environment' | 'agents' | 'emit' | 'listens'> {
  /** More arguments of AssumeRole, under the names of AWS. */
  readonly assumeRole?: Readonly<Record<string, unknown>> | undefined
}

export function vaultProofs(options: VaultLoginOptions, context: VaultProofsContext): VaultProofs {
  const { environment, agents } = context
  const { vault_timeout: timeout, vault_role: role = '' } = options
  const closing = new AbortController()
  let azure: Promise<VaultProofs['azure']> | undefined
  return {
    async aws(signal, now) {
      const { awsProver } = await import('./aws/vault-login.ts')
      return awsProver(options, context)(signal, now)
    },
    async azure(signal) {
      // A person is asked once.
      azure ??= import('./azure/vault-login.ts').then(({ azureProver }) => {
        return azureProver(options as AzureOptions, options.vault_azure_resource, context, closing.signal)
      })
      const prove = await azure
      return told('The token of Entra', prove(signal))
    },
    async gcp(signal, now) {
      const { GoogleTokens } = await import('./google/identity.ts')
      const own = { credential_timeout: timeout ?? credentialTimeout.default, ...options } as GoogleOptions
      const tokens = new GoogleTokens(own, { environment, agents, neededFor: 'vault_auth=gcp' })
      return told('The JWT of Google', tokens.proof(role, signal, now))
    },
    async kerberos(signal) {
      const { proveByTicket } = await import('./kerberos/vault-login.ts')
      return proveByTicket(options, environment, signal)
    },
    close: () => closing.abort(),
  }
}

/** Says in the error of a proof what it was for. */
async function told<T>(what: string, proof: Promise<T>): Promise<T> {
  try {
    return await proof
  } catch (error) {
    if (!(error instanceof PoolsmithError) || error.code === 'ABORTED') throw error
    throw error.with({ message: `${what} for the login to Vault could not be obtained: ${error.message}` })
  }
}
