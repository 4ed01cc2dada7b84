/** Engines over sessions that GSSAPI encrypts. */

import assert from 'node:assert/strict'
import { after } from 'node:test'
import { PoolsmithError } from '../../src/errors.ts'
import { createEngine, type Engine, type EngineOptions } from '../../src/index.ts'
import { startKerberosPostgres } from './kerberos-postgres.ts'

/** The realm and the server of this test file. */
export const realm = await startKerberosPostgres({
  roles: ['alice', 'bob', 'brief'],
  principals: { bob: {}, brief: { maxLife: '3 seconds' } },
  hba: ['host all all 127.0.0.1/32 gss include_realm=0'],
})
after(() => realm[Symbol.asyncDispose]())
/** alice's */
export const cache = await realm.ticket('alice', 'alice')

interface Target {
  readonly port?: number
  readonly host?: string
  readonly extra?: Readonly<Record<string, unknown>>
}

export function engine(target: Target = {}, options: EngineOptions = {}): Promise<Engine> {
  const { port = realm.server.port, host = 'localhost', extra } = target
  return createEngine(
    {
      conn_type: 'postgres',
      host,
      port,
      schema: 'postgres',
      extra: { auth_method: 'kerberos', gssencmode: 'require', hostaddr: '127.0.0.1', ccache: cache, ...extra },
    },
    { pool_size: 2, ...options },
  )
}

export const WHO = 'select current_user as who, principal, encrypted from pg_stat_gssapi where pid = pg_backend_pid()'

export async function failure(promise: Promise<unknown>): Promise<PoolsmithError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof PoolsmithError, String(error))
  assert.ok(error.hint, `${error.code} needs a hint`)
  return error
}
