/** An encrypted file as a store of connections, variables and configuration. */

import { resolve } from 'node:path'
import { path } from '../../connections/fields.ts'
import type { ConnectionInput } from '../../connections/parse.ts'
import { ConfigError, PoolsmithError } from '../../errors.ts'
import type { StoredSecret } from '../../vault/stored-secret.ts'
import { prefix, readKwargs } from '../airflow/kwargs.ts'
import { type ReadValue, storeOver } from '../airflow/over-reader.ts'
import { CachedReader } from '../cache.ts'
import { secretsFileOf } from '../fields.ts'
import type { StoreKindContext } from '../kind.ts'
import type { SecretReader } from '../reader.ts'
import type { Store } from '../store.ts'
import { EncryptedFile } from './file.ts'
import { encryptedReader } from './reader.ts'

export const encryptedKwargs = {
  secrets_file: path({ description: 'The file. Default: POOLSMITH_SECRETS_FILE.' }),
  secrets_key_file: path({ description: 'The file with its key. Default: the variables that hold or name a key.' }),
  connections_prefix: prefix({
    default: 'connections',
    description: 'The beginning of the names of connections; `null` turns these look-ups off.',
  }),
  variables_prefix: prefix({ default: 'variables', description: 'The same for variables.' }),
  config_prefix: prefix({ default: 'config', description: 'The same for configuration.' }),
} as const

const PREFIXES = { connection: 'connections_prefix', variable: 'variables_prefix', config: 'config_prefix' } as const

/** @throws ConfigError */
export function openEncryptedStore(given: Readonly<Record<string, unknown>>, context: StoreKindContext): Store {
  const { environment, subject, cwd } = context
  const { values, isNull } = readKwargs(encryptedKwargs, given, subject)
  const named = secretsFileOf(values, environment)
  if (named === undefined) {
    throw new ConfigError([{ path: 'secrets_file', message: 'missing; set it, or POOLSMITH_SECRETS_FILE' }], {
      subject,
    })
  }
  const keyFile = values.secrets_key_file === undefined ? undefined : resolve(cwd, values.secrets_key_file)
  const file = new EncryptedFile({ path: resolve(cwd, named), keyFile, environment })
  const before = (kind: keyof typeof PREFIXES): string | undefined => {
    const name = PREFIXES[kind]
    return isNull(name) ? undefined : values[name] === '' ? '' : `${values[name].replace(/\/+$/, '')}/`
  }
  return {
    ...storeOver({
      name: `encrypted file ${file.path}`,
      reader: new CachedReader(readerOf(file), context),
      pathsOf(kind, id, team) {
        const begin = before(kind)
        if (begin === undefined) return []
        return [...(team === undefined ? [] : [`${begin}${team}/${id}`]), `${begin}${id}`]
      },
      connectionIn,
      textIn: (stored, place) => stored.read(undefined, place),
    }),
    async connectionIds({ signal }) {
      const begin = before('connection')
      if (begin === undefined) return []
      const { entries } = await file.read(signal)
      return [...entries.keys()].filter((name) => name.startsWith(begin)).map((name) => name.slice(begin.length))
    },
  }
}

/** A file that does not exist is a store that fails, and not one without the entry. */
function readerOf(file: EncryptedFile): SecretReader {
  const reader = encryptedReader(file)
  return {
    ...reader,
    read: (name, signal) =>
      reader.read(name, signal).catch((error: unknown) => {
        const isWithoutFile =
          error instanceof PoolsmithError && error.code === 'SECRET_MISSING' && error.details.name === undefined
        throw isWithoutFile ? error.with({ code: 'SECRET_FILE_REFUSED' }) : error
      }),
  }
}

/** A text, the URI under `conn_uri`, or all fields as the parts of a connection. */
function connectionIn(stored: StoredSecret, place: string): ReadValue<ConnectionInput> {
  const fields = stored.fields()
  if (fields === undefined) return { value: stored.read(undefined, place).reveal() }
  const { conn_uri: uri } = fields
  return { value: typeof uri === 'string' && uri !== '' ? uri : (fields as ConnectionInput) }
}
