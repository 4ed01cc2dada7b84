/**
 * Files and folders that an earlier run of this user has left in a folder that other users may write. They are used
 * only when no other user can have made or changed them (docs/extract.md, "Who may write where").
 */

import { randomUUID } from 'node:crypto'
import { type FileHandle, link, lstat, mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import { errorCode } from '../../any-error.ts'
import { PoolsmithError } from '../../errors.ts'
import {
  assertTrusted,
  createExclusively,
  DistrustedFile,
  openTrusted,
  readTrusted,
  syncFolder,
  type Trust,
} from '../../private-file.ts'
import { writeFailure } from './write-failure.ts'

/** The longest text that JavaScript holds; nothing that is written here is longer. */
export const LONGEST_TEXT = 0x1fff_ffe8

/** The owner is checked, but not the mode: the umask of the earlier run decided that. */
const OWNED: Trust = { forbiddenMode: 0 }
/** The owner is checked, and that no other user has access. */
const PRIVATE_FOLDER: Trust = { type: 'folder', forbiddenMode: 0o077 }

/**
 * The text of a file that this user has made and no other user may write.
 *
 * @throws DistrustedFile, or the error of the file system
 */
export async function readOwnText(path: string): Promise<string> {
  const bytes = await withOwners(path, (owners) => readTrusted(path, { owners, maxBytes: LONGEST_TEXT }))
  return bytes.toString('utf8')
}

/** Opens a file that this user has made, whatever its mode. */
export function openOwn(path: string): Promise<FileHandle> {
  return withOwners(path, (owners) => openTrusted(path, { ...OWNED, owners }))
}

/** Whether it is a regular file that this user has made. */
export function isOwnFile(path: string): Promise<boolean> {
  return isOwn(path, OWNED)
}

/** Whether it is a folder that this user has made, and not a link to one. */
export function isOwnFolder(path: string): Promise<boolean> {
  return isOwn(path, { ...OWNED, type: 'folder' })
}

async function isOwn(path: string, trust: Trust): Promise<boolean> {
  try {
    const stats = await lstat(path)
    await withOwners(path, async (owners) => assertTrusted(path, stats, { ...trust, owners }))
    return true
  } catch {
    // It does not exist, or is not this user's: the callers do without it.
    return false
  }
}

/**
 * @throws DistrustedFile when others may look or write into the folder, or could have made it; else the file system's
 * error
 */
export async function assertPrivateFolder(path: string): Promise<void> {
  const stats = await lstat(path)
  await withOwners(path, async (owners) => assertTrusted(path, stats, { ...PRIVATE_FOLDER, owners }))
}

type Owners = readonly number[] | undefined

/**
 * Some file systems (NFS with `all_squash`, SMB) show the files of this process as another user's. So a file of another
 * user is compared with a new file beside it: one with the same owner counts as this user's.
 */
async function withOwners<T>(path: string, work: (owners: Owners) => Promise<T>): Promise<T> {
  try {
    return await work(undefined)
  } catch (error) {
    if (!(error instanceof DistrustedFile) || error.kind !== 'owner') throw error
    const owner = await ownerOfNewFiles(dirname(path)).catch(() => undefined)
    if (owner === undefined || owner === process.geteuid?.()) throw error
    return await work([owner])
  }
}

async function ownerOfNewFiles(folder: string): Promise<number> {
  const probe = join(folder, `.owner-${randomUUID()}.tmp`)
  const file = await createExclusively(probe, 0o600)
  try {
    return (await file.stat()).uid
  } finally {
    await file.close()
    await rm(probe, { force: true })
  }
}

/** The errors of a file system without hard links (FAT, some network mounts). */
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'])

/** Gives a file another name beside the first one; without hard links in place of it. A link is not followed. */
export async function linkOrMove(from: string, to: string): Promise<void> {
  try {
    await link(from, to)
  } catch (error) {
    if (!NO_LINKS.has(String(errorCode(error)))) throw error
    await rename(from, to)
  }
}

/** The names in a folder; none where it does not exist or cannot be listed: writing reports what is wrong with it. */
export async function namesIn(folder: string): Promise<readonly string[]> {
  return readdir(folder).catch(() => [])
}

/**
 * Makes the folders from `to` down to `folder`. Refuses a link below `to` that another user made, because it would lead
 * the files out of `to`. The caller chooses `to` itself, and any links in it.
 *
 * @throws PoolsmithError TARGET_NOT_TRUSTED, TARGET_NOT_WRITABLE, DISK_FULL, WRITE_FAILED
 */
export async function makeFolders(to: string, folder: string): Promise<void> {
  let path = to
  try {
    await makeFolder(to)
    for (const part of relative(to, folder).split(sep)) {
      if (part === '') continue
      path = join(path, part)
      await makeFolder(path)
      const stats = await lstat(path)
      const user = process.geteuid?.()
      const isForeign = user !== undefined && stats.uid !== user && stats.uid !== 0
      if (stats.isSymbolicLink() && isForeign) throw foreignLink(path, stats.uid)
    }
  } catch (error) {
    throw writeFailure(error, path)
  }
}

function foreignLink(path: string, owner: number): PoolsmithError {
  return new PoolsmithError(`${path} is a symbolic link that belongs to the user with the id ${owner}.`, {
    code: 'TARGET_NOT_TRUSTED',
    phase: 'write',
    hint: 'Remove the link, or make it as this user: files are not written through a link of another user.',
    details: { path, owner },
  })
}

/**
 * In place of Node's recursive mkdir, which never returns where the file system answers "no such file" although the
 * parent exists (below /proc, on some network mounts; seen in Node 24.21).
 */
export async function makeFolder(folder: string, hasParent = false): Promise<void> {
  try {
    await mkdir(folder)
    // A new folder is on the disk only when its parent is synced. A parent that cannot be opened is not an error.
    await syncFolder(dirname(folder)).catch(() => undefined)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const parent = dirname(folder)
    if (code === 'ENOENT' && !hasParent && parent !== folder) {
      await makeFolder(parent)
      await makeFolder(folder, true)
    } else if (code !== 'EEXIST' || !(await stat(folder)).isDirectory()) {
      throw error
    }
  }
}
