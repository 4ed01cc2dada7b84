/** How the columns have changed since the last extract in the same place. */

import { lstat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { PoolsmithError } from '../errors.ts'
import { readTrusted } from '../private-file.ts'
import { namesIn } from './files/own-files.ts'
import { isColumn, isListOf, isName, isRecord, isUuid } from './json-checks.ts'
import type { TableColumn } from './read/table.ts'

/** How the columns of a table differ from those of the last run in the same place. */
export interface Drift {
  /** The batch that it is compared with. */
  readonly since: string
  readonly added: readonly TableColumn[]
  readonly removed: readonly TableColumn[]
  readonly retyped: readonly { readonly name: string; readonly from: string; readonly to: string }[]
  /** Whether the columns that both have stand in another order, in which `_row_hash` is another one for every row. */
  readonly reordered: boolean
}

/** The columns of a manifest. */
interface Columns {
  readonly batchId: string
  readonly columns: readonly TableColumn[]
}

/** A manifest that is there already; the names are empty where it has none. */
interface Last extends Columns {
  readonly schema: string
  readonly table: string
}

/** The difference between two lists of columns; undefined when there is none. */
export function driftBetween(last: Columns, columns: readonly TableColumn[]): Drift | undefined {
  const before = new Map(last.columns.map((column) => [column.name, column]))
  const now = new Map(columns.map((column) => [column.name, column]))
  const drift: Drift = {
    since: last.batchId,
    added: columns.filter(({ name }) => !before.has(name)),
    removed: last.columns.filter(({ name }) => !now.has(name)),
    retyped: columns.flatMap((column) => {
      const old = before.get(column.name)
      return old === undefined || sameType(old, column)
        ? []
        : [{ name: column.name, from: typeOf(old), to: typeOf(column) }]
    }),
    reordered: !isDeepStrictEqual(namesWithin(last.columns, now), namesWithin(columns, before)),
  }
  const isSame = drift.added.length + drift.removed.length + drift.retyped.length === 0 && !drift.reordered
  return isSame ? undefined : drift
}

function namesWithin(columns: readonly TableColumn[], others: ReadonlyMap<string, unknown>): readonly string[] {
  return columns.map(({ name }) => name).filter((name) => others.has(name))
}

/** The columns of a format without Arrow types are compared without them. */
function sameType(before: TableColumn, now: TableColumn): boolean {
  return before.type === now.type && (before.arrow ?? now.arrow) === (now.arrow ?? before.arrow)
}

function typeOf({ type, arrow }: TableColumn): string {
  return arrow === undefined ? type : `${type} (${arrow})`
}

/**
 * Compares a run's columns with those of the last manifest in its place, and awaits `onDrift` when they differ.
 *
 * @param folder the day's folder, which need not be there
 * @throws PoolsmithError CONFIG_INVALID when the place is that of another table
 */
export async function driftIn(
  folder: string,
  { batchId, columns, ...name }: Last,
  onDrift: ((drift: Drift) => unknown) | undefined,
): Promise<Drift | undefined> {
  const last = await lastManifest(folder, batchId)
  if (last !== undefined) refuseTwin(last, name, folder)
  const drift = last === undefined ? undefined : driftBetween(last, columns)
  if (drift !== undefined) await onDrift?.(drift)
  return drift
}

/** Some file systems do not tell names apart that differ by case or by Unicode normalisation only. */
function refuseTwin(last: TableIdentity, name: TableIdentity, folder: string): void {
  const [there, here] = [last, name].map(({ schema, table }) => `${schema}.${table}`) as [string, string]
  if (there === here || folded(there) !== folded(here)) return
  throw new PoolsmithError(
    `${dirname(folder)} holds extracts of ${there}, whose name the file system does not tell from ${here}.`,
    {
      code: 'CONFIG_INVALID',
      phase: 'config',
      hint: 'Write this table below another folder (`to`), or under another `source`.',
      details: { folder: dirname(folder), holds: there },
    },
  )
}

type TableIdentity = Pick<Last, 'schema' | 'table'>

function folded(name: string): string {
  return name.normalize('NFKC').toLowerCase().normalize('NFKC')
}

/**
 * The newest manifest of a table, of any day. Other users may have written it: links and pipes are not opened, and only
 * the batch, the columns and the table's name are taken from it, checked.
 *
 * @param besides the batch of the run itself, of which other parts may be there already
 */
export async function lastManifest(folder: string, besides?: string): Promise<Last | undefined> {
  const table = dirname(folder)
  const days = (await namesIn(table)).filter((name) => name.startsWith('extract_date=')).sort()
  for (const day of days.reverse()) {
    const manifests = (await namesIn(join(table, day))).filter(
      (name) => /^_manifest-.*\.json$/.test(name) && !name.startsWith(`_manifest-${besides}`),
    )
    const dated = await Promise.all(
      manifests.map(async (name) => {
        const path = join(table, day, name)
        return { path, at: (await lstat(path).catch(() => undefined))?.mtimeMs ?? 0 }
      }),
    )
    for (const { path } of dated.sort((a, b) => b.at - a.at)) {
      const found = await columnsIn(path)
      if (found !== undefined) return found
    }
  }
  return undefined
}

/** A longer manifest is ignored. */
const MANIFEST_BYTES = 64 << 20

/** Undefined for a file that is damaged or not a manifest. */
async function columnsIn(path: string): Promise<Last | undefined> {
  try {
    const bytes = await readTrusted(path, { owners: 'anyone', forbiddenMode: 0, maxBytes: MANIFEST_BYTES })
    const content: unknown = JSON.parse(bytes.toString('utf8'))
    if (!isRecord(content) || !isUuid(content.batchId) || !isListOf(content.columns, isColumn)) return undefined
    const { batchId, columns, schema, table } = content
    return { batchId, columns, schema: isName(schema) ? schema : '', table: isName(table) ? table : '' }
  } catch {
    return undefined
  }
}
