/**
 * A client certificate instead of a password. The files are read again whenever they change, so a certificate is
 * rotated by putting the new files in place.
 *
 *   npm install && npm run build
 *   DB_HOST=db.example.com DB_NAME=analytics DB_USER=etl \
 *   DB_CERT_FILE=etl.crt DB_KEY_FILE=etl.key DB_CA_FILE=ca.crt node examples/ssl-cert.ts
 */

import { env } from 'node:process'
import { createEngine } from 'poolsmith'

await using db = await createEngine(
  {
    type: 'postgres',
    host: env.DB_HOST ?? 'localhost',
    port: env.DB_PORT ?? 5432,
    database: env.DB_NAME ?? 'postgres',
    login: env.DB_USER ?? null,
    extra: {
      auth_method: 'ssl_cert',
      sslcert: env.DB_CERT_FILE ?? 'client.crt',
      // The key must be readable by its owner alone, as libpq requires too.
      sslkey: env.DB_KEY_FILE ?? 'client.key',
      sslrootcert: env.DB_CA_FILE ?? 'ca.crt',
    },
  },
  {
    on: {
      'certificate:expiring': ({ subject, expiresAt }) => console.warn(`${subject} ends on ${new Date(expiresAt)}`),
    },
  },
)

const [session] = await db('pg_stat_ssl')
  .where('pid', db.raw('pg_backend_pid()'))
  .select('version', 'cipher', 'client_dn')
console.log(session)
