/** The manifest of one partition of a plan, read again. */

import { join } from 'node:path'
import type { Drift } from './drift.ts'
import { openOwn, readOwnText } from './files/own-files.ts'
import {
  isColumn,
  isCount,
  isInstant,
  isListOf,
  isName,
  isOptional,
  isRecord,
  isSha256,
  isText,
  isUuid,
} from './json-checks.ts'
import { type Manifest, type ManifestContent, manifestContent } from './manifest.ts'
import { type ExtractPlan, folderOf, partName } from './plan.ts'

export function partManifestName(plan: ExtractPlan, number: number): string {
  return `_manifest-${plan.batchId}-${String(number).padStart(5, '0')}.json`
}

/** The manifest of a partition that is complete: this user has written it, and its file has the size that it says. */
export async function wholePart(plan: ExtractPlan, number: number, to: string): Promise<Manifest | undefined> {
  const folder = folderOf(plan, to)
  const path = join(folder, partManifestName(plan, number))
  try {
    await using data = await openOwn(join(folder, partName(plan, number)))
    const { size } = await data.stat()
    const content = partManifest(JSON.parse(await readOwnText(path)), plan, number)
    return content !== undefined && content.bytes === size ? { ...content, folder, path } : undefined
  } catch {
    // Missing, incomplete or of another user.
    return undefined
  }
}

/**
 * The manifest in a file, when it is of this partition, else undefined. All that the plan says is taken from the plan,
 * and the rest is checked.
 */
function partManifest(value: unknown, plan: ExtractPlan, number: number): ManifestContent | undefined {
  if (!isRecord(value) || !isRecord(value.partition)) return undefined
  const { partition, rows, notes, drift, startedAt, finishedAt } = value
  const [file] = Array.isArray(value.files) ? (value.files as readonly unknown[]) : []
  const isOfPlan = partition.plan === plan.checksum && partition.number === number
  if (!isOfPlan || !isRecord(file) || !isCount(file.bytes) || !isSha256(file.sha256)) return undefined
  if (!isCount(rows) || !isListOf(notes, isText) || !isInstant(startedAt) || !isInstant(finishedAt)) return undefined
  if (!isOptional(drift, isDrift)) return undefined
  const name = partName(plan, number)
  const label = plan.partitions[number]?.label ?? ''
  const files = [{ name, bytes: file.bytes, sha256: file.sha256, rows, partition: number, label }]
  const content = manifestContent(plan, {
    startedAt: new Date(startedAt),
    rows,
    notes: [],
    files,
    drift,
    partition: number,
  })
  return { ...content, notes, finishedAt }
}

const isDrift = (value: unknown): value is Drift =>
  isRecord(value) &&
  isUuid(value.since) &&
  isListOf(value.added, isColumn) &&
  isListOf(value.removed, isColumn) &&
  isListOf(value.retyped, isRetyped) &&
  typeof value.reordered === 'boolean'

const isRetyped = (value: unknown): value is Drift['retyped'][number] =>
  isRecord(value) && isName(value.name) && isText(value.from) && isText(value.to)
