/** Removes the files that killed runs have left in a table's folder. */

import { lstat, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { removeReplaced } from './day-folder.ts'
import { isOwnFile, isOwnFolder, namesIn } from './own-files.ts'
import { clearStaging } from './staging.ts'

/**
 * A file that was not written for this long belongs to no run: a run that lives writes to its files, and a failed run
 * is resumed on the same day only.
 */
const AGE_MILLIS = 7 * 86_400_000
/** Only the newest days of a table are searched; older days were searched while they were new. */
const DAYS = 32

const UNFINISHED = /^_unfinished-([0-9a-f]{16}|[0-9a-f-]{36})$/
/** Folders that have replaced a day's, or were to. */
const REPLACED = /^_replac(ing|ed)-extract_date=[\d-]+-[0-9a-f-]{36}$/
const TEMPORARY = /^\.(part|_manifest)-[0-9a-f-]{36}.*\.tmp$/

/**
 * @param folder the day's folder of a run
 * @param now milliseconds since 1970
 */
export async function sweep(folder: string, now = Date.now()): Promise<void> {
  const table = dirname(folder)
  const names = await namesIn(table)
  for (const name of names.filter((one) => REPLACED.test(one))) {
    await remove(join(table, name), removeReplaced, now - AGE_MILLIS)
  }
  const days = names.filter((name) => name.startsWith('extract_date=')).sort()
  for (const day of days.slice(-DAYS)) {
    for (const name of await namesIn(join(table, day))) {
      if (!UNFINISHED.test(name) && !TEMPORARY.test(name)) continue
      await remove(join(table, day, name), UNFINISHED.test(name) ? clearStaging : undefined, now - AGE_MILLIS)
    }
  }
}

/**
 * Removes a file or folder of this user that is older than `since`. A failure does no harm: readers ignore it.
 *
 * @param clear removes a folder; undefined for a file
 */
async function remove(
  path: string,
  clear: ((folder: string) => Promise<unknown>) | undefined,
  since: number,
): Promise<void> {
  const isFolder = clear !== undefined
  const isOwn = await (isFolder ? isOwnFolder(path) : isOwnFile(path))
  if (!isOwn || (await lastTouched(path, isFolder)) >= since) return
  if (isFolder) await clear(path)
  else await rm(path, { force: true }).catch(() => undefined)
}

/** The last change of a file, or of a folder and its files; infinity where it is unknown. */
async function lastTouched(path: string, isFolder: boolean): Promise<number> {
  const inside = isFolder ? (await namesIn(path)).map((name) => join(path, name)) : []
  const times = await Promise.all(
    [path, ...inside].map((each) =>
      lstat(each).then(
        ({ mtimeMs }) => mtimeMs,
        () => Number.POSITIVE_INFINITY,
      ),
    ),
  )
  return Math.max(...times)
}
