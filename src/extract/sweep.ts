/** Takes away what runs that were killed have left in a table's folder. */

import { readdir, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/**
 * What nobody has touched for so long belongs to no run: one that lives writes to its files, and one that failed is
 * gone on with on the same day only.
 */
const AGE_MILLIS = 7 * 86_400_000
/** The newest days of a table that are looked through; older ones were while they were among them. */
const DAYS = 32

const UNFINISHED = /^_unfinished-([0-9a-f]{16}|[0-9a-f-]{36})$/
const TEMPORARY = /^\.(part|_manifest)-[0-9a-f-]{36}.*\.tmp$/

/**
 * @param folder the day's folder of a run
 * @param now milliseconds since 1970
 */
export async function sweep(folder: string, now = Date.now()): Promise<void> {
  const table = dirname(folder)
  const days = (await namesIn(table)).filter((name) => name.startsWith('extract_date=')).sort()
  for (const day of days.slice(-DAYS)) {
    for (const name of await namesIn(join(table, day))) {
      if (!UNFINISHED.test(name) && !TEMPORARY.test(name)) continue
      const path = join(table, day, name)
      // What cannot be taken away does no harm: no reader looks at it.
      if (now - (await lastTouched(path)) > AGE_MILLIS)
        await rm(path, { recursive: true, force: true }).catch(() => undefined)
    }
  }
}

/** Of a folder and all that is in it; now, where that cannot be told. */
async function lastTouched(path: string): Promise<number> {
  const inside = (await namesIn(path)).map((name) => join(path, name))
  const times = await Promise.all(
    [path, ...inside].map((each) =>
      stat(each).then(
        ({ mtimeMs }) => mtimeMs,
        () => Number.POSITIVE_INFINITY,
      ),
    ),
  )
  return Math.max(...times)
}

/** None, where there is no such folder. */
async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => [])
}
