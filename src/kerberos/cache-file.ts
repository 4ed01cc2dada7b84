import { randomBytes } from 'node:crypto'
import { type Stats, statSync } from 'node:fs'
import { type FileHandle, readdir, readFile, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { errorCode, isError } from '../any-error.ts'
import { PoolsmithError } from '../errors.ts'
import { DistrustedFile, onlyThisUser, openTrusted, ownFile, syncFolder } from '../private-file.ts'
import { cachePath } from './cache-name.ts'
import { kerberosError } from './errors.ts'

/** The file at the path of a cache, links followed; undefined for other kinds, and when none can be seen. */
export function fileBehind(cache: string): Stats | undefined {
  const path = cachePath(cache)
  try {
    return path === undefined ? undefined : statSync(path, { throwIfNoEntry: false })
  } catch {
    // A folder that may not be entered, for example: krb5 fails with the same reason.
    return undefined
  }
}

/**
 * Whether krb5 would wait, without limit, to read a cache or a keytab: for the writer of a pipe, which any user may put
 * into a folder such as /tmp.
 */
export function isWaitedFor(name: string): boolean {
  const stats = fileBehind(name)
  return stats !== undefined && !stats.isFile() && !stats.isDirectory()
}

/**
 * Replaces a cache's file whole: readers see the old tickets or the new ones, whatever dies in between. The new file
 * is made beside it, with mode 0600 or that of the old one, reaches the disk, and is then renamed.
 *
 * Call it while holding the cache's lock: it removes the files of updaters that died while they wrote.
 *
 * @param group may read the file (0640); by default a new file is 0600 and an old one keeps its mode
 * @param write fills the cache whose name it is given; its result is handed on
 * @throws TICKET_CACHE_NOT_TRUSTED, TICKET_CACHE_NOT_WRITABLE
 */
export async function replaceCacheFile<T>(
  cache: string,
  group: string | number | undefined,
  write: (into: string) => Promise<T>,
): Promise<T> {
  const path = cachePath(cache)
  if (path === undefined) throw new Error(`${cache} is no file`)
  const folder = dirname(path)
  const beside = join(folder, `.${basename(path)}.${process.pid}.${randomBytes(6).toString('hex')}.tmp`)
  try {
    const old = await ownFile(path)
    await removeLeftovers(folder, basename(path))
    try {
      const written = await write(`FILE:${beside}`)
      await finish(beside, old, group)
      await rename(beside, path)
      await syncFolder(folder)
      return written
    } finally {
      await rm(beside, { force: true })
    }
  } catch (error) {
    throw cacheFileError(error, cache)
  }
}

/** The error for a cache's file, or for one beside it, that cannot be written or must not be. */
export function cacheFileError(error: unknown, cache: string, principal?: string): PoolsmithError {
  if (error instanceof PoolsmithError) return error
  const code = error instanceof DistrustedFile ? 'TICKET_CACHE_NOT_TRUSTED' : 'TICKET_CACHE_NOT_WRITABLE'
  const more = isError(error) ? sentence(error.message) : String(error)
  return kerberosError(code, { cache, principal }, { cause: error, more })
}

function sentence(text: string): string {
  return text.endsWith('.') ? text : `${text}.`
}

async function removeLeftovers(folder: string, file: string): Promise<void> {
  const prefix = `.${file}.`
  for (const name of await readdir(folder)) {
    // The whole pattern: `.a.b.…` may belong to a cache named `a.b`.
    if (!name.startsWith(prefix) || !/^\d+\.[0-9a-f]{12}\.tmp$/.test(name.slice(prefix.length))) continue
    const leftover = join(folder, name)
    const own = await ownFile(leftover).catch((error: unknown) => {
      if (error instanceof DistrustedFile) return undefined
      throw error
    })
    if (own !== undefined) await rm(leftover, { force: true })
  }
}

/** Gives the new file its group and mode, by its handle: a path could lead to another file by now. */
async function finish(beside: string, old: Stats | undefined, group: string | number | undefined): Promise<void> {
  await using file = await openTrusted(beside, { ...onlyThisUser(), forWriting: true })
  const fresh = await file.stat()
  const groupId = group === undefined ? undefined : await groupIdOf(group)
  let mode = old === undefined ? 0o600 : old.mode & 0o644
  if (groupId !== undefined) mode = (mode & 0o604) | 0o040
  const gid = groupId ?? old?.gid ?? fresh.gid
  if (gid !== fresh.gid && !(await changeGroup(file, fresh.uid, gid, groupId !== undefined))) mode &= 0o604
  await file.chmod(mode)
  await file.sync()
}

/** False when the group of the old file cannot be kept: the group of the new one must not read it in its place. */
async function changeGroup(file: FileHandle, uid: number, gid: number, isRequired: boolean): Promise<boolean> {
  try {
    await file.chown(uid, gid)
    return true
  } catch (error) {
    if (isRequired || errorCode(error) !== 'EPERM') throw error
    return false
  }
}

async function groupIdOf(group: string | number): Promise<number> {
  const number = Number(group)
  if (Number.isInteger(number) && number >= 0) return number
  const lines = (await readFile('/etc/group', 'utf8')).split('\n')
  const entry = lines.map((line) => line.split(':')).find(([name]) => name === group)
  if (entry?.[2] !== undefined) return Number(entry[2])
  throw new PoolsmithError(`There is no group ${group} in /etc/group.`, {
    code: 'CONFIG_INVALID',
    phase: 'config',
    hint: 'Name a group of this system, or give its number.',
  })
}
