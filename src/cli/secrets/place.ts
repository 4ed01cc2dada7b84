/** The place of a secret that a command names, and the store that holds it. */

import type { Connection } from '../../connections/connection.ts'
import { FieldMismatch, type Fields, parseFields } from '../../connections/fields.ts'
import { ReferencedSecret, reference, SCHEMES } from '../../connections/reference.ts'
import { proxiesIn } from '../../engine/proxies.ts'
import { ConfigError } from '../../errors.ts'
import { connectionsIn } from '../../stores/connections.ts'
import { EncryptedFile } from '../../stores/encrypted/file.ts'
import { encryptedReader } from '../../stores/encrypted/reader.ts'
import { loginFields, type StoreFieldValues, secretsFileOf, storeFields } from '../../stores/fields.ts'
import { OpenStores } from '../../stores/open.ts'
import { storeProblems } from '../../stores/problems.ts'
import type { SecretReader } from '../../stores/reader.ts'
import { findConnection } from '../../stores/resolve.ts'
import { type Call, type CommandOption, UsageError } from '../command.ts'
import { STORE_OPTIONS, storesOf } from '../shared-options.ts'

export const PLACE_OPTIONS = {
  file: {
    type: 'string',
    value: 'FILE',
    description: 'The encrypted file of secrets. Default: POOLSMITH_SECRETS_FILE.',
  },
  'key-file': {
    type: 'string',
    value: 'FILE',
    description:
      'The file with its key. Default: POOLSMITH_SECRETS_KEY, POOLSMITH_SECRETS_KEY_FILE or POOLSMITH_SECRETS_KEY_COMMAND.',
  },
  connection: {
    type: 'string',
    value: 'ID',
    description:
      'A configured connection whose options say where the store is, how to log in to it, and the proxy on the way. Default: the variables of the store, and no proxy.',
  },
  ...STORE_OPTIONS,
} as const satisfies Record<string, CommandOption>

export interface Place extends Disposable {
  /** As the command line names it, the field left out. */
  readonly name: string
  readonly path: string
  readonly field: string | undefined
  readonly reader: SecretReader
  /** The encrypted file, where the secret is in it. */
  readonly file: EncryptedFile | undefined
}

/** @throws UsageError; ConfigError for options of the connection */
export async function encryptedFile(call: Call): Promise<EncryptedFile> {
  const { options } = await optionsFor('encrypted', call)
  const file = filledOption(call, 'file') ?? secretsFileOf(options, call.environment)
  if (file === undefined) throw new UsageError('which file? Name it by --file, or set POOLSMITH_SECRETS_FILE.')
  const keyFile = filledOption(call, 'key-file') ?? options.secrets_key_file
  return new EncryptedFile({ path: file, keyFile, environment: call.environment })
}

/** @throws UsageError; ConfigError when nothing says where the store is, or how to log in */
export async function placeOf(call: Call): Promise<Place> {
  const [, given = ''] = call.positionals
  const found = referenceIn(SCHEMES.some((scheme) => given.startsWith(`${scheme}:`)) ? given : `encrypted:${given}`)
  const { scheme, path, field } = found.reference
  const name = `${scheme}:${path}`
  if (scheme === 'encrypted') {
    const file = await encryptedFile(call)
    return { name, path, field, file, reader: encryptedReader(file), [Symbol.dispose]: () => undefined }
  }
  const { environment } = call
  const { options, connection, problems } = await optionsFor(scheme, call)
  const named = new Map([['password', found]])
  const all = [...problems, ...storeProblems(named, options, environment, connection)]
  if (all.length > 0) throw new ConfigError(all, { subject: 'The store', hint: STORE_HINT })
  const emit = (): void => undefined
  const proxies = proxiesIn(connection.extra, { environment, emit })
  const agents = proxies?.agents
  const connections = connectionsIn({ agents, ...storesOf(call) })
  const stores = new OpenStores(options, { environment, connection, agents, connections, emit })
  const reader = stores.open(found.reference)
  const close = (): void => {
    reader.close?.()
    proxies?.close()
  }
  return { name, path, field, file: undefined, reader, [Symbol.dispose]: close }
}

const STORE_HINT =
  'Set the variables of the store, such as VAULT_ADDR and VAULT_TOKEN, or name a connection with its options by --connection.'

function filledOption({ values }: Call, name: keyof typeof PLACE_OPTIONS): string | undefined {
  const value = values[name]
  if (value === '') throw new UsageError(`--${name} is empty.`)
  return typeof value === 'string' ? value : undefined
}

/** The options of a store: those of the connection that is named, else their defaults. */
async function optionsFor(scheme: string, call: Call) {
  const id = filledOption(call, 'connection')
  const connection: Pick<Connection, 'host' | 'port' | 'extra'> =
    id === undefined ? { extra: {} } : await findConnection(id, storesOf(call))
  const fields: Fields = {
    ...storeFields,
    ...loginFields(
      SCHEMES.filter((one) => one === scheme),
      connection.extra,
    ),
  }
  const names = new Set(Object.entries(fields).flatMap(([name, { aliases }]) => [name, ...aliases]))
  const given = Object.entries(connection.extra).filter(([name]) => names.has(name))
  const { values, problems } = parseFields(fields, Object.fromEntries(given))
  return { options: values as StoreFieldValues, connection, problems }
}

/** A whole secret may be named without a field, also where an option of a connection needs one. */
function referenceIn(text: string): ReferencedSecret {
  const named = parsed(text)
  if (named !== undefined) return named
  const whole = text.includes('#') ? undefined : parsed(`${text}#any`)
  if (whole !== undefined) return new ReferencedSecret({ ...whole.reference, field: undefined })
  throw new UsageError(`<secret> is NAME#FIELD, or a reference such as vault:secret/sales#password. ${NOT_REPEATED}`)
}

function parsed(text: string): ReferencedSecret | undefined {
  try {
    return reference('').parse(text)
  } catch (error) {
    if (error instanceof FieldMismatch) return undefined
    throw error
  }
}

/** A secret that was given in the wrong place must not be shown. */
const NOT_REPEATED = 'The argument is not repeated, since it may be a secret.'
