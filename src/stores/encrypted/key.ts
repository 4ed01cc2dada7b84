/** The key of an encrypted file of secrets: from a file, the environment, or a command. */

import { createSecretKey, type KeyObject } from 'node:crypto'
import { realpath } from 'node:fs/promises'
import { errorCode } from '../../any-error.ts'
import { type ErrorCode, PoolsmithError } from '../../errors.ts'
import { shownCause, shownPath } from '../../plausible-path.ts'
import { assertTrusted, DistrustedFile, openTrusted } from '../../private-file.ts'
import { shellOutput } from '../../shell-command.ts'
import { KEY_BYTES } from './format.ts'

type Environment = Readonly<Record<string, string | undefined>>

export const KEY_VARIABLE = 'POOLSMITH_SECRETS_KEY'
const FILE_VARIABLE = 'POOLSMITH_SECRETS_KEY_FILE'
const COMMAND_VARIABLE = 'POOLSMITH_SECRETS_KEY_COMMAND'

/** A few keys with line ends. */
const LONGEST_BYTES = 4096
const MOST_KEYS = 8
const COMMAND_LIMIT_MILLIS = 10_000

/** The place of a key, as errors name it, and the way to its text. */
interface KeyPlace {
  readonly name: string
  read(signal: AbortSignal): Promise<string>
}

/**
 * Where the key is: the file that the connection names, else the one of the three variables that is set. A command is
 * taken from the environment alone, since a record may come from people who must not run programs here.
 *
 * @throws PoolsmithError ENCRYPTED_KEY_MISSING
 */
export function keyPlace(file: string | undefined, environment: Environment): KeyPlace {
  if (file !== undefined) return filePlace(file)
  const { [KEY_VARIABLE]: text, [FILE_VARIABLE]: named, [COMMAND_VARIABLE]: command } = environment
  const given = [
    text ? { name: KEY_VARIABLE, read: () => Promise.resolve(text) } : undefined,
    named ? filePlace(named) : undefined,
    command ? { name: `The command in ${COMMAND_VARIABLE}`, read: commandReader(command, environment) } : undefined,
  ].filter((place) => place !== undefined)
  const [place] = given
  if (place !== undefined && given.length === 1) return place
  if (place !== undefined) {
    const names = [text && KEY_VARIABLE, named && FILE_VARIABLE, command && COMMAND_VARIABLE].filter(Boolean)
    const message = `Several keys for the encrypted file of secrets are given: by ${names.join(' and ')}.`
    throw fault('ENCRYPTED_KEY_MISSING', message, 'Keep one of them; several keys stand in one place, one a line.')
  }
  throw fault(
    'ENCRYPTED_KEY_MISSING',
    'No key for the encrypted file of secrets is given.',
    `Set secrets_key_file, or one of ${KEY_VARIABLE}, ${FILE_VARIABLE} and ${COMMAND_VARIABLE}. \`poolsmith secrets new-key\` makes a key.`,
  )
}

/**
 * The keys in a text, separated by commas, spaces or lines: the first one encrypts, all decrypt. Each has 32 bytes, in
 * Base64 (also of the kind for URLs) or hexadecimal.
 *
 * @throws PoolsmithError ENCRYPTED_KEY_INVALID, and those of the place
 */
export async function readKeys(place: KeyPlace, signal: AbortSignal): Promise<readonly [KeyObject, ...KeyObject[]]> {
  const texts = (await place.read(signal)).split(/[\s,]+/).filter((text) => text !== '')
  const keys = texts.map((text) => {
    const bytes = Buffer.from(text, /^[0-9a-fA-F]{64}$/.test(text) ? 'hex' : 'base64')
    const isKey = bytes.length === KEY_BYTES && /^[\w+/-]+={0,2}$/.test(text)
    return isKey ? createSecretKey(bytes) : undefined
  })
  const [first, ...others] = keys.filter((key) => key !== undefined)
  if (first !== undefined && keys.length === others.length + 1 && keys.length <= MOST_KEYS) return [first, ...others]
  throw fault(
    'ENCRYPTED_KEY_INVALID',
    keys.length === 0 ? `${place.name} gives no key.` : `${place.name} gives something else than a key.`,
    'A key has 32 bytes, written in Base64 or hexadecimal; `poolsmith secrets new-key` makes one. A password is none.',
  )
}

function filePlace(path: string): KeyPlace {
  const shown = shownPath(path)
  const name = `The key file ${shown}`
  return {
    name,
    async read() {
      try {
        // Kubernetes mounts secrets as links.
        return await readKeyFile(await realpath(path))
      } catch (error) {
        const cause = shownCause(path, error)
        if (errorCode(error) === 'ENOENT') {
          throw fault('ENCRYPTED_KEY_MISSING', `${name} does not exist.`, 'Check its path.', cause)
        }
        const reason =
          error instanceof DistrustedFile ? error.reason : `cannot be read (${errorCode(error) ?? 'unknown error'})`
        const hint = `Give the file to this user and run chmod 0600 ${shown} (0640 is accepted when root owns it).`
        throw fault('SECRET_FILE_REFUSED', `${name} ${reason}.`, hint, cause)
      }
    },
  }
}

async function readKeyFile(path: string): Promise<string> {
  await using file = await openTrusted(path, { maxBytes: LONGEST_BYTES })
  const stats = await file.stat()
  // libpq's rule for private keys: one that belongs to root may be read by its group.
  assertTrusted(path, stats, { forbiddenMode: stats.uid === 0 ? 0o037 : 0o077 })
  return file.readFile('utf8')
}

function commandReader(command: string, environment: Environment): KeyPlace['read'] {
  const failed = (what: string, transient: boolean): PoolsmithError =>
    new PoolsmithError(`The command in ${COMMAND_VARIABLE} ${what}.`, {
      code: 'ENCRYPTED_KEY_INVALID',
      phase: 'credential',
      transient,
      hint: 'Run it by hand as this user to see why. It has to print the key alone, and must not ask for anything.',
    })
  const limits = { limitMillis: COMMAND_LIMIT_MILLIS, longestBytes: LONGEST_BYTES }
  return (signal) => shellOutput({ command, environment, signal, failed, ...limits })
}

function fault(code: ErrorCode, message: string, hint: string, cause?: unknown): PoolsmithError {
  return new PoolsmithError(message, { code, phase: 'credential', hint, cause })
}
