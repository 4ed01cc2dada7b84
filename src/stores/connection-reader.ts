import { revealExtra } from '../connections/extra.ts'
import { connectionOf } from '../connections/parse.ts'
import { PoolsmithError } from '../errors.ts'
import { StoredSecret } from '../vault/stored-secret.ts'
import type { StoreOptions } from './options.ts'
import type { SecretReader } from './reader.ts'

/** The connections in the stores as secrets, whose fields are the parts and the options of a connection. */
export function connectionReader(options: StoreOptions): SecretReader {
  return {
    distance: 'remote',
    placeOf: (id) => `The connection ${id}`,
    async read(id) {
      const { lookUp } = await import('./find.ts')
      const read = await lookUp(id, options).catch((error: unknown) => {
        const isMissing = error instanceof PoolsmithError && error.code === 'CONNECTION_NOT_FOUND'
        throw isMissing ? error.with({ code: 'SECRET_MISSING', phase: 'credential' }) : error
      })
      read.origin?.close()
      const { login, password, host, port, database, extra } = connectionOf(read)
      const parts = { login, password: password?.reveal(), host, port, database }
      const given = Object.entries(parts).filter(([, value]) => value !== undefined)
      return new StoredSecret({ ...revealExtra(extra), ...Object.fromEntries(given) })
    },
  }
}
