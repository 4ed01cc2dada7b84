import { realpath } from 'node:fs/promises'
import { errorCode } from '../any-error.ts'
import { type ErrorCode, PoolsmithError } from '../errors.ts'
import { shownCause, shownPath } from '../plausible-path.ts'
import { DistrustedFile, readTrusted } from '../private-file.ts'
import { Secret } from '../secret.ts'

/** A token, JWT or key comes to a few thousand bytes. */
const LONGEST_BYTES = 1024 * 1024

/** How errors name the file, and the option that names it. */
export interface FileUse {
  /** `file of the Vault token` */
  readonly what: string
  readonly option: string
  /** The code for a file that is missing or empty: that of a login differs from that of a secret. Default: SECRET_MISSING. */
  readonly missing?: 'SECRET_MISSING' | 'CREDENTIAL_MISSING'
}

/**
 * The content of a file that holds a secret. Links are followed, because Kubernetes mounts secrets as links, which it
 * replaces as a whole; a file that disappears between the link and its target is read once more. A file that other
 * users can write is refused.
 *
 * @throws PoolsmithError SECRET_MISSING, SECRET_FILE_REFUSED
 */
export async function readSecretFile(path: string, use: FileUse): Promise<Buffer> {
  try {
    return await read(path).catch((error: unknown) => {
      if (errorCode(error) !== 'ENOENT') throw error
      return read(path)
    })
  } catch (cause) {
    throw secretFileError(path, use, cause)
  }
}

async function read(path: string): Promise<Buffer> {
  return readTrusted(await realpath(path), { maxBytes: LONGEST_BYTES, owners: 'anyone' })
}

export function secretFileError(
  path: string,
  { what, option, missing = 'SECRET_MISSING' }: FileUse,
  cause: unknown,
): PoolsmithError {
  const code = errorCode(cause)
  const file = shownPath(path)
  const about = { details: { file }, cause: shownCause(path, cause) }
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    const hint = `Check the path in ${option}, and that the file has been written or mounted.`
    return new PoolsmithError(`The ${what} ${file} does not exist.`, {
      code: missing,
      phase: 'credential',
      hint,
      ...about,
    })
  }
  const reason = cause instanceof DistrustedFile ? cause.reason : `cannot be read (${code ?? 'unknown error'})`
  const isOpen = cause instanceof DistrustedFile && cause.kind === 'mode'
  return new PoolsmithError(`The ${what} ${file} ${reason}.`, {
    code: 'SECRET_FILE_REFUSED',
    phase: 'credential',
    hint: isOpen
      ? `Run chmod go-w on it, so that only its owner can write it.`
      : `Check the path in ${option}, and that this process may read the file.`,
    ...about,
  })
}

/** The text of such a file, without one line end after it. @throws as {@link readSecretFile}; SECRET_MISSING, SECRET_UNUSABLE */
export async function readSecretText(path: string, use: FileUse): Promise<Secret> {
  const bytes = await readSecretFile(path, use)
  const text = textOf(bytes)
  if (text === undefined || text.includes('\0')) throw fault(path, use, 'SECRET_UNUSABLE', 'holds no text')
  const line = text.replace(/\r?\n$/, '')
  if (line === '') throw fault(path, use, use.missing ?? 'SECRET_MISSING', 'is empty')
  return new Secret(line)
}

/** The UTF-8 text in the bytes; undefined where they are none. */
export function textOf(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    // The caller says which secret it is.
    return undefined
  }
}

function fault(path: string, use: FileUse, code: ErrorCode, what: string): PoolsmithError {
  return new PoolsmithError(`The ${use.what} ${shownPath(path)} ${what}.`, {
    code,
    phase: 'credential',
    hint: `Check what ${use.option} names.`,
    details: { file: shownPath(path) },
  })
}
