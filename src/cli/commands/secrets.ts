import { randomBytes } from 'node:crypto'
import { errorCode } from '../../any-error.ts'
import { PoolsmithError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import { createExclusively } from '../../private-file.ts'
import { Secret } from '../../secret.ts'
import { removeEntry } from '../../stores/encrypted/reader.ts'
import { actionOf, type Call, type Command, type Outcome, UsageError } from '../command.ts'
import { rows } from '../layout.ts'
import { edit } from '../secrets/edit.ts'
import { encryptedFile, PLACE_OPTIONS, type Place, placeOf } from '../secrets/place.ts'
import { readValue } from '../secrets/value.ts'

const ACTIONS: Readonly<Record<string, (call: Call) => Promise<Outcome>>> = {
  list,
  get,
  set,
  remove,
  edit: editSecret,
  'new-key': newKey,
  rekey,
}

export const secretsCommand: Command = {
  name: 'secrets',
  summary: 'List, read, write and edit secrets in an encrypted file and in other stores.',
  description:
    'list: the secrets of the encrypted file, or the fields of one secret; never values. get: prints one value. ' +
    'set: writes one, which is read from standard input or asked for. remove: a field, or a secret of the encrypted file. ' +
    'edit: opens a secret in VISUAL or EDITOR. new-key: makes a key, in a new file of mode 0600 or on standard output. ' +
    'rekey: encrypts the file anew with the first of its keys. ' +
    'No secret is taken from the command line, where other users could see it.',
  positionals: [
    { name: 'action', description: 'list, get, set, remove, edit, new-key or rekey.' },
    {
      name: 'secret',
      description:
        'NAME#FIELD in the encrypted file, or a reference such as vault:secret/sales#password. For new-key: the file of the key.',
      optional: true,
    },
  ],
  takesSecrets: true,
  options: {
    ...PLACE_OPTIONS,
    show: { type: 'boolean', description: 'get, new-key: print the value on a terminal too.' },
  },
  run: (call) => {
    const [action = '', secret] = call.positionals
    const act = actionOf(ACTIONS, call)
    if (secret === undefined && !['list', 'new-key', 'rekey'].includes(action)) {
      throw new UsageError('<secret> is missing.')
    }
    return act(call)
  },
}

async function list(call: Call): Promise<Outcome> {
  if (call.positionals[1] !== undefined) return listFields(call)
  const file = await encryptedFile(call)
  const { entries } = await file.read(call.signal)
  const secrets = [...entries]
    .map(([name, { fields, version, writtenAt }]) => ({ name, fields: namesOf(fields.keys()), version, writtenAt }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
  const { out } = call.terminal
  const texts = secrets.map(({ name, fields, version, writtenAt }) => {
    const facts = [
      ['fields', fields.map((field) => printable(field)).join(', ') || 'none, it is a text'],
      ['written', `${writtenAt} (version ${version})`],
    ] as const
    return `${out.style('bold', printable(name))}\n${rows(facts, out.width)}`
  })
  return { data: { file: file.path, secrets }, text: texts.join('\n\n') || `${file.name} holds no secrets.` }
}

async function listFields(call: Call): Promise<Outcome> {
  using place = await placeOf(call)
  const secret = await place.reader.read(place.path, call.signal)
  const fields = namesOf(Object.keys(secret.fields() ?? {}))
  const text =
    fields.map((field) => printable(field)).join('\n') ||
    `${place.reader.placeOf(place.path)} is a text without fields.`
  return { data: { secret: place.name, version: secret.version, fields }, text }
}

/** A secret that is a text has one field without a name. */
function namesOf(fields: Iterable<string>): readonly string[] {
  return [...fields].filter((name) => name !== '').sort()
}

async function get(call: Call): Promise<Outcome> {
  refuseTerminal(call, 'the value')
  using place = await placeOf(call)
  const secret = await place.reader.read(place.path, call.signal)
  const value = secret.read(place.field, place.reader.placeOf(place.path)).reveal()
  return { data: { secret: place.name, version: secret.version, value }, text: value, verbatim: true }
}

function refuseTerminal({ terminal, values }: Call, what: string): void {
  if (!terminal.out.isTerminal || values.show === true) return
  throw new UsageError(`${what} would be shown on the terminal. Add --show, or redirect the output.`)
}

async function set(call: Call): Promise<Outcome> {
  using place = await placeOf(call)
  writable(place)
  const value = await readValue(call)
  const present = await presentOf(place, call.signal)
  const fields = present?.texts() ?? new Map<string, Secret>()
  const [only] = present === undefined || fields.size > 1 ? [] : fields.keys()
  const field = place.field ?? only ?? ''
  const isMixed = present !== undefined && (field === '' ? fields.size > 1 : present.fields() === undefined)
  if (isMixed) {
    const what =
      field === '' ? `has the fields ${printable(namesOf(fields.keys()).join(', '))}` : 'is a text without fields'
    throw new PoolsmithError(`${place.reader.placeOf(place.path)} ${what}; nothing was changed.`, {
      code: 'SECRET_UNUSABLE',
      phase: 'credential',
      hint: field === '' ? 'Name one of them behind #.' : 'Leave out the field behind #, or remove the secret first.',
    })
  }
  fields.set(field, value)
  return await write(place, fields, present, call, 'is written')
}

async function remove(call: Call): Promise<Outcome> {
  using place = await placeOf(call)
  const { file, path, field, name } = place
  writable(place)
  if (field === undefined) {
    if (file === undefined) throw new UsageError('which field? Only the encrypted file can remove a whole secret.')
    await removeEntry(file, path, call.signal)
    return removed(name)
  }
  const present = await place.reader.read(path, call.signal)
  // It says which fields there are, where this one is missing.
  present.read(field, place.reader.placeOf(path))
  const fields = present.texts()
  fields.delete(field)
  if (file !== undefined && fields.size === 0) {
    await removeEntry(file, path, call.signal)
    return removed(`${name}#${field}`)
  }
  return await write(place, fields, present, call, 'is removed')
}

function removed(name: string): Outcome {
  return { data: { secret: name, removed: true }, text: `${name} is removed.` }
}

async function editSecret(call: Call): Promise<Outcome> {
  using place = await placeOf(call)
  const { reader, path, field } = place
  writable(place)
  const present = await reader.read(path, call.signal)
  const where = reader.placeOf(path)
  const fields = present.texts()
  const isText = field !== undefined || present.fields() === undefined
  const before = isText
    ? present.read(field, where).reveal()
    : JSON.stringify(Object.fromEntries([...fields].map(([name, value]) => [name, value.reveal()])), undefined, 2)
  const edited = await edit(`${before}\n`, isText ? '.txt' : '.json', call)
  const after = edited.replace(/\r?\n$/, '')
  if (after === before) return { data: { secret: place.name, changed: false }, text: 'Nothing was changed.' }
  if (!isText) return await write(place, fieldsIn(after), present, call, 'is written')
  if (after === '') throw new UsageError('the value is empty; nothing was changed. `secrets remove` removes one.')
  fields.set(field ?? '', new Secret(after))
  return await write(place, fields, present, call, 'is written')
}

/** @throws UsageError, without the words of the parser, which quotes the text */
function fieldsIn(text: string): Map<string, Secret> {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    throw new UsageError('the text is not JSON; nothing was changed.')
  }
  const entries = typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) ? Object.entries(parsed) : []
  const wrong = entries.find(([name, value]) => name === '' || typeof value !== 'string' || value === '')
  if (wrong !== undefined) throw new UsageError(`the field ${wrong[0]} is not a text; nothing was changed.`)
  if (entries.length === 0) throw new UsageError('there are no fields; nothing was changed.')
  return new Map(entries.map(([name, value]) => [name, new Secret(value as string)]))
}

type Stored = Awaited<ReturnType<Place['reader']['read']>>

/** @throws UsageError for a store that only reads */
function writable({ reader, path }: Place): void {
  if (reader.write === undefined) throw new UsageError(`${reader.placeOf(path)} can only be read.`)
}

/** The secret as it is now; undefined when there is none. */
async function presentOf({ reader, path }: Place, signal: AbortSignal): Promise<Stored | undefined> {
  try {
    return await reader.read(path, signal)
  } catch (error) {
    const isNone = error instanceof PoolsmithError && ['SECRET_MISSING', 'SECRET_DELETED'].includes(error.code)
    if (isNone) return undefined
    throw error
  }
}

async function write(
  { reader, path, name, field }: Place,
  fields: ReadonlyMap<string, Secret>,
  replaces: Stored | undefined,
  { signal }: Call,
  done: string,
): Promise<Outcome> {
  const written = await reader.write?.(path, fields, { replaces, signal })
  const whole = field === undefined ? name : `${name}#${field}`
  const version = written?.version
  return {
    data: { secret: name, field, version, fields: namesOf(fields.keys()) },
    text: `${whole} ${done}${version === undefined ? '' : ` (version ${version})`}.`,
  }
}

async function newKey(call: Call): Promise<Outcome> {
  const [, path] = call.positionals
  const key = randomBytes(32).toString('base64')
  if (path === undefined) {
    refuseTerminal(call, 'the key')
    return { data: { key }, text: key, verbatim: true }
  }
  try {
    await using file = await createExclusively(path, 0o600)
    await file.writeFile(`${key}\n`)
    await file.sync()
  } catch (cause) {
    const exists = errorCode(cause) === 'EEXIST'
    const reason = exists ? 'exists already' : `cannot be written (${errorCode(cause) ?? 'unknown error'})`
    throw new PoolsmithError(`The key file ${path} ${reason}.`, {
      code: 'SECRET_FILE_REFUSED',
      phase: 'credential',
      hint: exists
        ? 'To change the key, put the new one on a line before the old one, and run `poolsmith secrets rekey`.'
        : 'Name a file in a folder that this user can write.',
      cause,
    })
  }
  return {
    data: { keyFile: path },
    text: `${path} holds a new key. Keep a copy of it: without it nothing can be read.`,
  }
}

async function rekey(call: Call): Promise<Outcome> {
  const file = await encryptedFile(call)
  // To fail for a file that does not exist, which a writer would make.
  await file.read(call.signal)
  const { entries } = await file.update((contents) => contents, call.signal)
  return { data: { file: file.path, secrets: entries.size }, text: `${file.path} is encrypted with the first key.` }
}
