import { didYouMeanSentence, nearest } from '../../did-you-mean.ts'
import { inSentence, PoolsmithError } from '../../errors.ts'
import { CONFLICT_HINT } from '../../vault/errors.ts'
import { StoredSecret } from '../../vault/stored-secret.ts'
import type { SecretReader } from '../reader.ts'
import type { EncryptedFile } from './file.ts'
import type { Contents, Entry } from './format.ts'

/** The secrets of an encrypted file, by their names. */
export function encryptedReader(file: EncryptedFile): SecretReader {
  const placeOf = (name: string): string => `The secret ${name} in ${inSentence(file.name)}`
  return {
    distance: 'local',
    placeOf,
    read: async (name, signal) => secretOf(known(file, (await file.read(signal)).entries, name)),
    async write(name, fields, { replaces, signal }) {
      const version = replaces?.version
      if (fields.has('') && fields.size > 1) throw mixed(placeOf(name))
      const contents = await file.update(({ revision, entries }) => {
        const known = entries.get(name)
        if ((known === undefined ? undefined : String(known.version)) !== version) throw conflict(placeOf(name), known)
        const entry = { fields, version: revision + 1, writtenAt: new Date().toISOString() }
        return { revision: revision + 1, entries: new Map([...entries, [name, entry]]) }
      }, signal)
      return secretOf(contents.entries.get(name) as Entry)
    },
  }
}

/** Removes a secret. @throws PoolsmithError SECRET_MISSING, and those of {@link EncryptedFile.update} */
export async function removeEntry(file: EncryptedFile, name: string, signal: AbortSignal): Promise<void> {
  await file.update(({ revision, entries }) => {
    known(file, entries, name)
    return { revision: revision + 1, entries: new Map([...entries].filter(([each]) => each !== name)) }
  }, signal)
}

function known(file: EncryptedFile, entries: Contents['entries'], name: string): Entry {
  const entry = entries.get(name)
  if (entry !== undefined) return entry
  const near = nearest(name, entries.keys())
  throw new PoolsmithError(
    `${file.name} has no secret ${name}.${didYouMeanSentence(near === undefined ? [] : [near])}`,
    {
      code: 'SECRET_MISSING',
      phase: 'credential',
      hint: '`poolsmith secrets list` shows the names.',
      details: { file: file.path, name },
    },
  )
}

function secretOf({ fields, version, writtenAt }: Entry): StoredSecret {
  const text = fields.get('')
  const values = [...fields].map(([field, value]) => [field, value.reveal()] as const)
  return new StoredSecret(text?.reveal() ?? Object.fromEntries(values), String(version), Date.parse(writtenAt))
}

function conflict(place: string, present: Entry | undefined): PoolsmithError {
  const what = present === undefined ? 'is not there any more' : `has version ${present.version} by now`
  return new PoolsmithError(`${place} ${what}; nothing was written.`, {
    code: 'SECRET_CONFLICT',
    phase: 'credential',
    hint: CONFLICT_HINT,
  })
}

function mixed(place: string): PoolsmithError {
  return new PoolsmithError(`${place} would be a text and have fields too.`, {
    code: 'SECRET_UNUSABLE',
    phase: 'credential',
    hint: 'Name each field, or store one text without a name.',
  })
}
