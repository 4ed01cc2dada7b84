import { errorCode, isError } from '../../any-error.ts'
import { type ErrorCode, PoolsmithError } from '../../errors.ts'

const CODES: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  ENOSPC: ['DISK_FULL', 'Make room on the disk, or write somewhere else; no incomplete file was left.'],
  EDQUOT: ['DISK_FULL', 'Raise the quota, or write somewhere else; no incomplete file was left.'],
  EACCES: ['TARGET_NOT_WRITABLE', 'Let this user write there, or choose another folder.'],
  EPERM: ['TARGET_NOT_WRITABLE', 'Let this user write there, or choose another folder.'],
  ERR_ACCESS_DENIED: ['TARGET_NOT_WRITABLE', "Let Node's permission model write there: --allow-fs-write."],
  EROFS: ['TARGET_NOT_WRITABLE', 'The file system is mounted read-only; choose another folder.'],
  ENOTDIR: ['TARGET_NOT_WRITABLE', 'A part of the path is a file; choose another folder.'],
  EEXIST: ['TARGET_NOT_WRITABLE', 'A file of this name exists already; remove it, or choose another folder.'],
  ENOENT: ['TARGET_NOT_WRITABLE', 'The folder does not exist and cannot be made; choose another one.'],
  ELOOP: ['TARGET_NOT_WRITABLE', 'The links in the path form a circle; choose another folder.'],
  ENAMETOOLONG: ['TARGET_NOT_WRITABLE', 'Choose a shorter path.'],
}

/** An error of the file system as poolsmith's error. */
export function writeFailure(error: unknown, path: string): PoolsmithError {
  if (error instanceof PoolsmithError) return error
  if (!isError(error)) throw error
  const errno = errorCode(error) ?? ''
  const [code, hint] = CODES[errno] ?? ['WRITE_FAILED', 'See the cause for the answer of the file system.']
  return new PoolsmithError(`Writing ${path} failed: ${error.message}`, {
    code,
    phase: 'write',
    hint,
    transient: code === 'DISK_FULL',
    details: { path, ...(errno === '' ? {} : { errno }) },
    cause: error,
  })
}
