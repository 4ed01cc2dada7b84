/**
 * AWS IAM: the pool logs in to RDS or Aurora with tokens that it signs itself and renews. The AWS SDK finds the
 * keys: the environment, a profile, the instance's role.
 *
 *   npm install && npm run build
 *   DB_HOST=mydb.abc123.eu-west-1.rds.amazonaws.com DB_NAME=analytics DB_USER=svc_etl \
 *   DB_CA_FILE=global-bundle.pem node examples/iam.ts
 */

import { env } from 'node:process'
import { createEngine } from 'poolsmith'

// The region is read from the host name; for a host name of your own set `region`.
const parameters = new URLSearchParams({ auth_method: 'iam', sslrootcert: env.DB_CA_FILE ?? 'system' })
if (env.AWS_REGION !== undefined) parameters.set('region', env.AWS_REGION)

const {
  DB_USER: user = 'svc_etl',
  DB_HOST: host = 'localhost',
  DB_PORT: port = '5432',
  DB_NAME: name = 'postgres',
} = env
await using db = await createEngine(`postgres://${user}@${host}:${port}/${name}?${parameters}`, {
  on: {
    'credential:refreshed': ({ identity, expiresAt }) =>
      console.log(`a token for ${identity}, good until ${expiresAt === undefined ? 'ever' : new Date(expiresAt)}`),
  },
})

const [session] = await db.select(db.raw('current_user as who'))
console.log(session)
