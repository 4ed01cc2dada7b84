/** The errors of the audit log. */

import { errorCode, errorText } from '../any-error.ts'
import { PoolsmithError } from '../errors.ts'
import { printable } from '../printable.ts'
import { DistrustedFile } from '../private-file.ts'

const FULL: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/** A line could not be written. */
export function auditFailed(target: string, cause: unknown): PoolsmithError {
  if (cause instanceof PoolsmithError && cause.code === 'AUDIT_FAILED') return cause
  const code = errorCode(cause)
  return new PoolsmithError(`The audit log could not be written to ${target}: ${reasonOf(cause)}.`, {
    code: 'AUDIT_FAILED',
    phase: 'write',
    transient: true,
    hint: FULL.has(code)
      ? 'Make room on the disk, or raise the quota; lines that wait are written then.'
      : 'Put right what it names; lines that wait are written then.',
    details: { target, ...(code !== undefined && { reason: code }) },
    cause,
  })
}

/** The file of the log cannot be used. */
export function auditFileRefused(path: string, cause: unknown): PoolsmithError {
  const code = errorCode(cause)
  return new PoolsmithError(`The file of the audit log cannot be used: ${fileReason(path, cause)}`, {
    code: 'AUDIT_FILE_REFUSED',
    phase: 'config',
    hint: 'Name a file in a folder that belongs to the user of this process and that no other user can write.',
    details: { path, ...(code !== undefined && { reason: code }) },
    cause,
  })
}

function fileReason(path: string, cause: unknown): string {
  if (cause instanceof DistrustedFile) return cause.message
  return `${path}: ${reasonOf(cause)}.`
}

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota on the disk is used up',
  EFBIG: 'the file is as large as it may be',
  EACCES: 'this process may not write it',
  EROFS: 'the file system is read-only',
  ENOENT: 'its folder does not exist',
  EISDIR: 'it is a folder',
}

function reasonOf(cause: unknown): string {
  return REASONS[errorCode(cause) ?? ''] ?? printable(errorText(cause))
}
