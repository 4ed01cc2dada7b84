/** The options by which Vault is logged in to with an identity of another: those of its strategy. */

import type { Fields, ValuesOf } from '../connections/fields.ts'
import type { VaultOptions } from '../vault/fields.ts'
import { type AzureOptions, azureFields } from './azure/fields.ts'
import type { GoogleOptions } from './google/fields.ts'
import { kerberosFields } from './kerberos/fields.ts'

const { principal, keytab, ccache } = kerberosFields
const ticketFields = { principal, keytab, ccache } as const

/** By `vault_auth`, where it has options beside those of Vault. */
const FIELDS: Readonly<Record<string, Fields>> = { azure: azureFields, kerberos: ticketFields }

export type TicketOptions = ValuesOf<typeof ticketFields>

/** All options of a login to Vault: those of an identity are there under its `vault_auth` alone. */
export type VaultLoginOptions = VaultOptions & Partial<AzureOptions & GoogleOptions & TicketOptions>

/** @param given options, among which is `vault_auth` */
export function vaultLoginFields({ vault_auth: method }: Readonly<Record<string, unknown>>): Fields {
  // Anything may have been given; the table of options reports it.
  const name = typeof method === 'string' ? method : ''
  return Object.hasOwn(FIELDS, name) ? (FIELDS[name] ?? {}) : {}
}
