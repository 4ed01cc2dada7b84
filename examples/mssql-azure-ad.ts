/**
 * Azure SQL by Microsoft Entra tokens: the pool fetches and renews them, tedious only receives them. Without further
 * options @azure/identity finds the identity: the environment, a workload or managed identity, `az login`.
 *
 *   npm install && npm run build
 *   DB_HOST=myserver.database.windows.net DB_NAME=sales node examples/mssql-azure-ad.ts
 *
 * For a service principal set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET too.
 */

import { env } from 'node:process'
import { createEngine } from 'poolsmith'

const principal =
  env.AZURE_CLIENT_SECRET === undefined
    ? {}
    : {
        azure_credential: 'service_principal',
        tenant_id: env.AZURE_TENANT_ID,
        client_id: env.AZURE_CLIENT_ID,
        client_secret: env.AZURE_CLIENT_SECRET,
      }

await using db = await createEngine({
  type: 'mssql',
  host: env.DB_HOST ?? 'localhost',
  port: env.DB_PORT ?? 1433,
  database: env.DB_NAME ?? 'master',
  extra: {
    auth_method: 'azure_ad',
    ca_file: env.DB_CA_FILE ?? 'system',
    ...(env.AZURE_AUTHORITY_HOST === undefined
      ? {}
      : { authority_host: env.AZURE_AUTHORITY_HOST, disable_instance_discovery: true }),
    ...principal,
  },
})

const [session] = await db.select(db.raw('suser_sname() as who'))
console.log(session)
