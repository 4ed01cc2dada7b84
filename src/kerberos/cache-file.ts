import { randomBytes } from 'node:crypto'
import { chmod, chown, lstat, open, readdir, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { PoolsmithError } from '../errors.ts'
import { kerberosError } from './errors.ts'

/** The file behind a cache's full name (`FILE:path`, `DIR::path`, a plain path); undefined for other kinds. */
export function cachePath(cache: string): string | undefined {
  if (cache.startsWith('FILE:')) return cache.slice('FILE:'.length)
  if (cache.startsWith('DIR::')) return cache.slice('DIR::'.length)
  return /^[A-Z]+:/.test(cache) ? undefined : cache
}

/**
 * Replaces a cache's file whole: readers see the old tickets or the new ones, whatever dies in between. The new file
 * is written beside it, takes over its owner and mode, reaches the disk, and is then renamed.
 *
 * Call it under the cache's lock: it clears away what an updater left that died while it wrote.
 *
 * @param group lets this group read (0640); by default a new file is 0600 and an old one keeps its mode
 * @param write fills the cache of the name that it is given
 */
export async function replaceCacheFile(
  cache: string,
  group: string | number | undefined,
  write: (into: string) => Promise<void>,
): Promise<void> {
  const given = cachePath(cache)
  if (given === undefined) throw new Error(`${cache} is no file`)
  const path = await targetOf(given)
  const folder = dirname(path)
  try {
    await removeLeftovers(folder, basename(path))
    const beside = join(folder, `.${basename(path)}.${process.pid}.${randomBytes(6).toString('hex')}.tmp`)
    try {
      await write(`FILE:${beside}`)
      await takeOver(path, beside, group)
      await toDisk(beside)
      await rename(beside, path)
      await toDisk(folder)
    } finally {
      await rm(beside, { force: true })
    }
  } catch (error) {
    if (error instanceof PoolsmithError) throw error
    throw kerberosError('TICKET_CACHE_NOT_WRITABLE', { cache }, { cause: error, more: reasonOf(error) })
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? `${error.message}.` : String(error)
}

/** A link stays a link: its target is what gets replaced. */
async function targetOf(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    if (isCode(error, 'ENOENT')) return path
    throw kerberosError('TICKET_CACHE_NOT_WRITABLE', { cache: path }, { cause: error })
  }
}

async function removeLeftovers(folder: string, file: string): Promise<void> {
  const prefix = `.${file}.`
  for (const name of await readdir(folder)) {
    // Exactly our own: `.a.b.…` may belong to a cache named `a.b`.
    if (!name.startsWith(prefix) || !/^\d+\.[0-9a-f]{12}\.tmp$/.test(name.slice(prefix.length))) continue
    await rm(join(folder, name), { force: true })
  }
}

/** Owner and mode of the file that is replaced; never more permissions than it had, but for the group that was named. */
async function takeOver(path: string, beside: string, group: string | number | undefined): Promise<void> {
  const old = await lstat(path).catch((error: unknown) => {
    if (isCode(error, 'ENOENT')) return undefined
    throw error
  })
  const fresh = await stat(beside)
  const groupId = group === undefined ? undefined : await groupIdOf(group)
  const gid = groupId ?? old?.gid ?? fresh.gid
  let mode = old === undefined ? 0o600 : old.mode & 0o666
  if (groupId !== undefined) mode = (mode & 0o606) | 0o040
  if (old !== undefined && old.uid !== fresh.uid) await chown(beside, old.uid, gid)
  else if (gid !== fresh.gid) {
    try {
      await chown(beside, fresh.uid, gid)
    } catch (error) {
      if (!isCode(error, 'EPERM') || groupId !== undefined) throw error
      // The old group cannot be kept, and what it could read is not for ours.
      mode &= 0o606
    }
  }
  await chmod(beside, mode)
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

async function toDisk(path: string): Promise<void> {
  const file = await open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
