/** The place of a secret that a command names, and the store that holds it. */

import { FieldMismatch, parseFields } from '../../connections/fields.ts'
import { type Reference, reference, SCHEMES } from '../../connections/reference.ts'
import { ConfigError } from '../../errors.ts'
import { EncryptedFile } from '../../stores/encrypted/file.ts'
import { encryptedReader } from '../../stores/encrypted/reader.ts'
import { loginFields, type StoreFieldValues, secretsFileOf, storeFields } from '../../stores/fields.ts'
import { OpenStores } from '../../stores/open.ts'
import { storeProblems } from '../../stores/problems.ts'
import type { SecretReader } from '../../stores/reader.ts'
import { type Call, type CommandOption, UsageError } from '../command.ts'

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

/** @throws UsageError */
export function encryptedFile({ values, environment }: Call): EncryptedFile {
  const given = (name: keyof typeof PLACE_OPTIONS): string | undefined => {
    const value = values[name]
    if (value === '') throw new UsageError(`--${name} is empty.`)
    return typeof value === 'string' ? value : undefined
  }
  const path = secretsFileOf({ secrets_file: given('file') }, environment)
  if (path === undefined) throw new UsageError('which file? Name it by --file, or set POOLSMITH_SECRETS_FILE.')
  return new EncryptedFile({ path, keyFile: given('key-file'), environment })
}

/** @throws UsageError; ConfigError when the environment does not say where the store is, or how to log in */
export function placeOf(call: Call): Place {
  const [, given = ''] = call.positionals
  const text = SCHEMES.some((scheme) => given.startsWith(`${scheme}:`)) ? given : `encrypted:${given}`
  const found = referenceIn(text)
  const { scheme, path, field } = found
  const name = `${scheme}:${path}`
  if (scheme === 'encrypted') {
    const file = encryptedFile(call)
    return { name, path, field, file, reader: encryptedReader(file), [Symbol.dispose]: () => undefined }
  }
  const stores = new OpenStores(optionsFor(text, found, call), {
    environment: call.environment,
    connection: NO_DATABASE,
    emit: () => undefined,
  })
  const reader = stores.open(found)
  return { name, path, field, file: undefined, reader, [Symbol.dispose]: () => reader.close?.() }
}

const NO_DATABASE = { host: undefined, port: undefined }

function referenceIn(text: string): Reference {
  try {
    const parsed = reference('').parse(text)
    if (parsed !== undefined) return parsed.reference
  } catch (error) {
    if (!(error instanceof FieldMismatch)) throw error
  }
  throw new UsageError(`<secret> is NAME#FIELD, or a reference such as vault:secret/sales#password. ${NOT_REPEATED}`)
}

/** A secret that was given in the wrong place must not be shown. */
const NOT_REPEATED = 'The argument is not repeated, since it may be a secret.'

/** The options of the store, of which the environment gives what a connection could. */
function optionsFor(text: string, { scheme }: Reference, { environment }: Call): StoreFieldValues {
  const { values } = parseFields({ ...storeFields, ...loginFields([scheme]) }, {})
  const options = values as StoreFieldValues
  const given = reference('').parse(text)
  const named = new Map(given === undefined ? [] : [['password', given] as const])
  const problems = storeProblems(named, options, environment, NO_DATABASE)
  if (problems.length > 0) throw new ConfigError(problems, { subject: 'The store', hint: STORE_HINT })
  return options
}

const STORE_HINT = 'Set the variables of the store, such as VAULT_ADDR and VAULT_TOKEN, or AWS_REGION.'
