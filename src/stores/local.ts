/** Secrets of this machine: files, variables of the environment, and secrets that Kubernetes mounts as folders. */

import { readdir, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { errorCode } from '../any-error.ts'
import { PoolsmithError } from '../errors.ts'
import { ownFile } from '../private-file.ts'
import { readSecretFile, secretFileError, textOf } from '../vault/credential-file.ts'
import { CONFLICT_HINT } from '../vault/errors.ts'
import { StoredSecret } from '../vault/stored-secret.ts'
import type { SecretReader } from './reader.ts'
import { replaceFile } from './replace-file.ts'
import { textFollowing } from './text-content.ts'

/** A file that holds one secret: a text, or a JSON object with fields. One line end after it is not part of it. */
export const fileReader: SecretReader = {
  distance: 'local',
  placeOf: (path) => `The file ${path}`,
  read: async (path) => {
    const writtenAt = await lastChange(path)
    const bytes = await readSecretFile(path, { what: 'file', option: 'the reference' })
    return new StoredSecret(contentOf(bytes), undefined, writtenAt)
  },
  /** By one writer at a time, who compares the content. The file then belongs to this user alone (mode 0600). */
  async write(path, fields, { replaces, signal }) {
    const subject = `The file ${path}`
    const { text } = await replaceFile(
      path,
      async () => {
        const present = (await ownFile(path)) === undefined ? undefined : await fileReader.read(path, signal)
        if (present === undefined ? replaces !== undefined : !present.equals(replaces)) throw changed(subject, replaces)
        if (present?.isBinary === true) throw binary(subject)
        return { text: `${textFollowing(replaces, fields).reveal()}\n` }
      },
      { name: subject, code: 'SECRET_FILE_LOCKED', signal },
    )
    return new StoredSecret(contentOf(Buffer.from(text)), undefined, await lastChange(path))
  },
}

function changed(subject: string, replaces: StoredSecret | undefined): PoolsmithError {
  const what = replaces === undefined ? 'exists already' : 'is not as it was read'
  return new PoolsmithError(`${subject} ${what}; nothing was written.`, {
    code: 'SECRET_CONFLICT',
    phase: 'credential',
    hint: CONFLICT_HINT,
  })
}

function binary(subject: string): PoolsmithError {
  return new PoolsmithError(`${subject} is binary, and a text would replace it.`, {
    code: 'SECRET_UNUSABLE',
    phase: 'credential',
    hint: 'Name another file.',
  })
}

/** Undefined for a file that cannot be looked at: reading it tells why. */
async function lastChange(path: string): Promise<number | undefined> {
  return stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => undefined,
  )
}

function contentOf(bytes: Buffer): string | { readonly content: Buffer } {
  return textOf(bytes)?.replace(/\r?\n$/, '') ?? { content: bytes }
}

/** @param environment read at each resolution, since a program may change its own */
export function environmentReader(environment: Readonly<Record<string, string | undefined>>): SecretReader {
  return {
    distance: 'local',
    placeOf: (name) => `The environment variable ${name}`,
    async read(name) {
      const value = environment[name]
      if (value) return new StoredSecret(value)
      throw new PoolsmithError(`The environment variable ${name} is ${value === undefined ? 'not set' : 'empty'}.`, {
        code: 'SECRET_MISSING',
        phase: 'credential',
        hint: `Set ${name}, or name another place in the reference.`,
        details: { variable: name },
      })
    },
  }
}

/** The folder of the present state, by which the kubelet replaces all files of a mounted secret at once. */
const PRESENT = '..data'
const MOST_SWAPS = 3

/**
 * A secret that Kubernetes mounts as a folder. All its keys are read from one state: the kubelet writes each state to a
 * folder of its own, moves the link `..data` to it, and removes the old one (Kubernetes documentation, "Secrets",
 * mounted secrets are updated automatically).
 */
export const kubernetesFolderReader: SecretReader = {
  distance: 'local',
  placeOf: (path) => `The mounted secret ${path}`,
  async read(path) {
    for (let swaps = 1; ; swaps++) {
      try {
        return await readFolder(path)
      } catch (error) {
        // The state was removed between two of its files.
        const isSwap = error instanceof Vanished && swaps < MOST_SWAPS
        if (!isSwap) throw error instanceof Vanished ? error.reason : error
      }
    }
  },
}

class Vanished extends Error {
  readonly reason: PoolsmithError

  constructor(reason: PoolsmithError) {
    super(reason.message)
    this.reason = reason
  }
}

async function readFolder(path: string): Promise<StoredSecret> {
  const use = { what: 'mounted secret', option: 'the reference' }
  let folder: string
  let names: readonly string[]
  try {
    folder = await realpath(join(path, PRESENT)).catch((error: unknown) => {
      // A folder that the kubelet does not replace, such as one made by hand.
      if (errorCode(error) === 'ENOENT') return realpath(path)
      throw error
    })
    names = (await readdir(folder)).filter((name) => !name.startsWith('..'))
  } catch (cause) {
    throw secretFileError(path, use, cause)
  }
  const writtenAt = await lastChange(folder)
  const fields: Record<string, unknown> = Object.create(null) as Record<string, unknown>
  for (const name of names) {
    const bytes = await readSecretFile(join(folder, name), use).catch((error: unknown) => {
      if (errorCode(error) === 'SECRET_MISSING') throw new Vanished(error as PoolsmithError)
      throw error
    })
    fields[name] = textOf(bytes)?.replace(/\r?\n$/, '') ?? bytes
  }
  return new StoredSecret(fields, undefined, writtenAt)
}
