/** Whole connections that a store holds. */

import { type ConnectionInput, readConnection } from '../connections/parse.ts'
import { PoolsmithError } from '../errors.ts'
import { StoredSecret } from '../vault/stored-secret.ts'
import type { SecretReader } from './reader.ts'
import type { Origin } from './store.ts'

/**
 * The connection in a secret: a text in one of the forms of a connection, the URI in the field `conn_uri`, or all fields as
 * its parts.
 *
 * @param field the one field that holds the connection
 * @param place names the secret in errors
 */
export function recordIn(stored: StoredSecret, field: string | undefined, place: string): ConnectionInput {
  const fields = field === undefined ? stored.fields() : undefined
  if (fields === undefined) return stored.read(field, place).reveal()
  const { conn_uri: uri } = fields
  if (typeof uri === 'string' && uri !== '') return uri
  const [only, ...others] = Object.keys(fields)
  // A mounted secret or one of Kubernetes that holds the connection under a key of its own. A password alone is none.
  return only !== undefined && others.length === 0 && only !== 'password'
    ? stored.read(only, place).reveal()
    : (fields as ConnectionInput)
}

/** Reads login and password of a record as the store has it now. */
export function recordReader({ place, read }: Origin): SecretReader {
  const last = new WeakMap<StoredSecret, Awaited<ReturnType<Origin['read']>>>()
  const partsOf = (value: ConnectionInput): StoredSecret => {
    const { connection } = readConnection(value)
    if (connection !== undefined) {
      const { login, password } = connection
      return new StoredSecret({ login, password: password?.reveal() })
    }
    throw new PoolsmithError(`${place} no longer holds a connection that is valid.`, {
      code: 'SECRET_UNUSABLE',
      phase: 'credential',
      hint: 'Check the record in the store; `poolsmith check` lists its problems.',
    })
  }
  return {
    distance: 'remote',
    placeOf: () => place,
    async read(_path, signal) {
      const found = await read(signal)
      const parts = partsOf(found.value)
      last.set(parts, found)
      return parts
    },
    async others(_path, current, signal) {
      const others = await last.get(current)?.others?.(signal)
      return (others ?? []).map(partsOf)
    },
  }
}
