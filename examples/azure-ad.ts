/**
 * Microsoft Entra ID (Azure AD): the pool logs in with access tokens and renews them. Without further options
 * @azure/identity finds the identity: the environment, a workload or managed identity, `az login`.
 *
 *   npm install && npm run build
 *   DB_HOST=mydb.postgres.database.azure.com DB_NAME=analytics DB_USER=etl@example.com node examples/azure-ad.ts
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
  type: 'postgres',
  host: env.DB_HOST ?? 'localhost',
  port: env.DB_PORT ?? 5432,
  database: env.DB_NAME ?? 'postgres',
  login: env.DB_USER ?? null,
  extra: { auth_method: 'azure_ad', sslrootcert: env.DB_CA_FILE ?? 'system', ...principal },
})

const [session] = await db.select(db.raw('current_user as who'))
console.log(session)
