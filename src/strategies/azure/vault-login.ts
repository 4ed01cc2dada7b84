/** The token of Entra by which Vault is logged in to (https://developer.hashicorp.com/vault/docs/auth/azure). */

import { onAbort } from '../../abort.ts'
import type { Secret } from '../../secret.ts'
import type { StrategyContext } from '../strategy.ts'
import type { AzureOptions } from './fields.ts'
import { storeTokenSource } from './source.ts'

/**
 * @param resource of the token, as Vault's configuration names it
 * @param end ends the renewal of the token
 */
export async function azureProver(
  options: AzureOptions,
  resource: string | undefined,
  context: Omit<StrategyContext, 'settings'>,
  end: AbortSignal,
): Promise<(signal: AbortSignal) => Promise<Secret>> {
  const scope = options.scope ?? `${resource}/.default`
  const source = await storeTokenSource(options, scope, context)
  onAbort(end, () => source.close())
  return async (signal) => {
    const credential = await source.get(signal)
    if (credential.kind !== 'token') throw new Error('The strategy azure_ad gave no token.')
    return credential.token
  }
}
