import { KEY_VAULT_SECRET } from '../../connections/reference.ts'
import { type Cloud, vaultDomainOf } from '../../strategies/azure/cloud.ts'

export interface KeyVaultSecret {
  /** `https://sales.vault.azure.net` */
  readonly vault: string
  readonly name: string
  /** Undefined: the newest one. */
  readonly version: string | undefined
}

/** @param path as a reference has it; a vault without a domain is one of the cloud */
export function keyVaultSecret(path: string, cloud: Cloud): KeyVaultSecret {
  const { host, vault, name, version } = KEY_VAULT_SECRET.exec(path)?.groups ?? {}
  if (name === undefined) throw new Error('The reference was not checked.')
  return { vault: `https://${host ?? `${vault}.${vaultDomainOf(cloud)}`}`.toLowerCase(), name, version }
}
