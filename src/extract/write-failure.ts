import { type ErrorCode, PoolsmithError } from '../errors.ts'

const CODES: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  ENOSPC: ['DISK_FULL', 'Make room on the disk, or write somewhere else; nothing half-written was left behind.'],
  EDQUOT: ['DISK_FULL', 'Raise the quota, or write somewhere else; nothing half-written was left behind.'],
  EACCES: ['TARGET_NOT_WRITABLE', 'Let this user write there, or choose another folder.'],
  EPERM: ['TARGET_NOT_WRITABLE', 'Let this user write there, or choose another folder.'],
  EROFS: ['TARGET_NOT_WRITABLE', 'The file system is mounted read-only; choose another folder.'],
  ENOTDIR: ['TARGET_NOT_WRITABLE', 'A part of the path is a file; choose another folder.'],
  EEXIST: ['TARGET_NOT_WRITABLE', 'Something of this name is there already; remove it, or choose another folder.'],
  ENOENT: ['TARGET_NOT_WRITABLE', 'The folder is gone or cannot be made; choose another one.'],
  ELOOP: ['TARGET_NOT_WRITABLE', 'The path leads in a circle of links; choose another folder.'],
  ENAMETOOLONG: ['TARGET_NOT_WRITABLE', 'Choose a shorter path.'],
}

/** What the file system said, in poolsmith's words. */
export function writeFailure(error: unknown, path: string): PoolsmithError {
  if (error instanceof PoolsmithError) return error
  if (!(error instanceof Error)) throw error
  const errno = 'code' in error && typeof error.code === 'string' ? error.code : ''
  const [code, hint] = CODES[errno] ?? ['WRITE_FAILED', 'The cause says what the file system answered.']
  return new PoolsmithError(`Writing ${path} failed: ${error.message}`, {
    code,
    phase: 'write',
    hint,
    transient: code === 'DISK_FULL',
    details: { path, ...(errno === '' ? {} : { errno }) },
    cause: error,
  })
}
