/** A keytab on the disk while it is rotated, and the files beside it. */

import { chmod, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errorCode, isError } from '../any-error.ts'
import { PoolsmithError } from '../errors.ts'
import { kerberosError } from '../kerberos/errors.ts'
import { FileLock } from '../kerberos/file-lock.ts'
import { type FileEntry, readKeytab, writeKeytab } from '../kerberos/keytab-file.ts'
import { besideKeytab, KEY_FILE, type PendingPassword, pendingText, readPending } from '../kerberos/pending-key.ts'
import { createExclusively, DistrustedFile, ownFile, readTrusted, syncFolder } from '../private-file.ts'
import { running } from './stored-password.ts'

export class KeytabFiles {
  readonly path: string
  /** The keytab that takes the place of the present one. */
  readonly next: string
  readonly #pending: string

  constructor(path: string) {
    this.path = path
    const { pending, next } = besideKeytab(path)
    this.#pending = pending
    this.next = next
  }

  /** Held for the length of one rotation. @throws PoolsmithError ROTATION_RUNNING, KEYTAB_… */
  async lock(): Promise<FileLock> {
    const { lock: path } = besideKeytab(this.path)
    const lock = await this.#told('write', () => FileLock.try(path))
    if (lock === undefined) throw running(`another process holds the lock ${path}`)
    return lock
  }

  /** @throws PoolsmithError KEYTAB_… */
  read(): Promise<FileEntry[]> {
    return this.#told('read', async () => readKeytab(await readTrusted(this.path, KEY_FILE)))
  }

  /** The password that the KDC was to take, or has taken. @throws PoolsmithError KEYTAB_NOT_TRUSTED, KEYTAB_CORRUPT */
  pending(): Promise<PendingPassword | undefined> {
    return this.#told('read', () => readPending(this.path), this.#pending)
  }

  begin(pending: PendingPassword): Promise<void> {
    return this.#told('write', () => replace(this.#pending, Buffer.from(pendingText(pending))))
  }

  withdraw(): Promise<void> {
    return this.#told('write', async () => {
      await rm(this.#pending, { force: true })
      await syncFolder(dirname(this.path))
    })
  }

  /** The keytab that an earlier rotation, or a command of the site, has left. @throws PoolsmithError KEYTAB_… */
  readNext(): Promise<FileEntry[] | undefined> {
    return this.#told(
      'read',
      async () => {
        if ((await ownFile(this.next)) === undefined) return undefined
        // Made by a program of the site, under its umask.
        await chmod(this.next, 0o600)
        return readKeytab(await readTrusted(this.next, KEY_FILE))
      },
      this.next,
    )
  }

  writeNext(entries: readonly FileEntry[]): Promise<void> {
    return this.#told('write', () => replace(this.next, writeKeytab(entries)))
  }

  /** Puts the next keytab into the place of the present one. */
  async promote(): Promise<void> {
    await this.#told('write', async () => {
      await ownFile(this.path)
      await rename(this.next, this.path)
      await syncFolder(dirname(this.path))
    })
    await this.withdraw()
  }

  async #told<T>(what: 'read' | 'write', work: () => Promise<T>, file = this.path): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (error instanceof PoolsmithError) throw error
      const more = isError(error) ? error.message.replace(/\.?$/, '.') : undefined
      throw kerberosError(codeOf(error, what), { keytab: file }, { cause: error, more })
    }
  }
}

function codeOf(error: unknown, what: 'read' | 'write') {
  if (error instanceof DistrustedFile) return 'KEYTAB_NOT_TRUSTED'
  if (what === 'write') return 'KEYTAB_NOT_WRITABLE'
  if (error instanceof RangeError || error instanceof SyntaxError) return 'KEYTAB_CORRUPT'
  return errorCode(error) === 'ENOENT' ? 'KEYTAB_MISSING' : 'KEYTAB_UNREADABLE'
}

/** Writes a file whole: readers see the old content, if there was one, or the new one. */
async function replace(path: string, content: Buffer): Promise<void> {
  const beside = `${path}.tmp`
  // One that a rotation left when it was killed. The lock is held.
  if ((await ownFile(beside)) !== undefined) await rm(beside)
  await ownFile(path)
  {
    await using file = await createExclusively(beside, 0o600)
    await writeFile(file, content)
    await file.sync()
  }
  await rename(beside, path)
  await syncFolder(dirname(path))
}
