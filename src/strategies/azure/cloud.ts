import type { Dialect } from '../../connections/connection.ts'

export const CLOUDS = ['public', 'china', 'government'] as const
export type Cloud = (typeof CLOUDS)[number]

/**
 * The authority that issues each national cloud's tokens, and the resources that they must be issued for: those of
 * Azure Database for PostgreSQL and of Azure SQL (Microsoft Learn, "Microsoft Entra authentication" of either service); and
 * the domain of its key vaults.
 */
const TABLE: Readonly<
  Record<Cloud, { readonly authority: string; readonly vault: string } & Readonly<Record<Dialect, string>>>
> = {
  public: {
    authority: 'https://login.microsoftonline.com',
    postgres: 'https://ossrdbms-aad.database.windows.net/.default',
    mssql: 'https://database.windows.net/.default',
    vault: 'vault.azure.net',
  },
  china: {
    authority: 'https://login.chinacloudapi.cn',
    postgres: 'https://ossrdbms-aad.database.chinacloudapi.cn/.default',
    mssql: 'https://database.chinacloudapi.cn/.default',
    vault: 'vault.azure.cn',
  },
  government: {
    authority: 'https://login.microsoftonline.us',
    postgres: 'https://ossrdbms-aad.database.usgovcloudapi.net/.default',
    mssql: 'https://database.usgovcloudapi.net/.default',
    vault: 'vault.usgovcloudapi.net',
  },
}

export function authorityOf(cloud: Cloud): string {
  return TABLE[cloud].authority
}

export function scopeOf(cloud: Cloud, dialect: Dialect): string {
  return TABLE[cloud][dialect]
}

export function vaultDomainOf(cloud: Cloud): string {
  return TABLE[cloud].vault
}

/** The public client of the Azure CLI, which every tenant knows and @azure/identity takes for people too. */
export const PUBLIC_CLIENT = '04b07795-8ddb-461a-bbee-02f9e1bf7b46'
/** Stands for the tenant of the person who signs in; personal accounts are excluded. */
export const ANY_TENANT = 'organizations'
