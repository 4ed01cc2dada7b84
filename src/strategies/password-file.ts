import { type FileKind, readFileState } from '../credentials/reread-file.ts'
import { PoolsmithError } from '../errors.ts'
import { Secret } from '../secret.ts'

/** The longest password that a file may hold, in bytes: more is the wrong file. */
const MAX_BYTES = 64 * 1024

const PASSWORD_FILE: FileKind = {
  what: 'password file',
  phase: 'credential',
  missing: 'CREDENTIAL_MISSING',
  unreadable: 'CREDENTIAL_FAILED',
  hint: 'password_file names a file that this process may read and that holds the password and nothing else.',
  option: 'password_file',
}

/**
 * Reads a password from a file of its own. One line end after it is not part of it.
 *
 * @throws PoolsmithError CREDENTIAL_MISSING when there is no file or nothing in it, CREDENTIAL_FAILED when it cannot
 *   be read or cannot be a password
 */
export async function readPasswordFile(file: string): Promise<Secret> {
  const { content } = await readFileState(file, PASSWORD_FILE)
  const text = content.toString('utf8').replace(/\r?\n$/, '')
  if (text === '') throw problem('CREDENTIAL_MISSING', file, 'is empty')
  if (content.length > MAX_BYTES) throw problem('CREDENTIAL_FAILED', file, 'is too large to hold a password')
  if (/[\r\n\0]/.test(text)) throw problem('CREDENTIAL_FAILED', file, 'holds more than one line')
  return new Secret(text)
}

function problem(code: 'CREDENTIAL_FAILED' | 'CREDENTIAL_MISSING', file: string, what: string): PoolsmithError {
  return new PoolsmithError(`The password file ${file} ${what}.`, {
    code,
    phase: 'credential',
    hint: PASSWORD_FILE.hint,
    details: { file },
  })
}
