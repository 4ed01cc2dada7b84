/**
 * The staging folder `_unfinished-<key>`, in which the files of a run wait until all of them are complete: its files.
 */

import { readdir, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { errorCode } from '../../any-error.ts'

export const PLAN_NAME = 'plan.json'

/** A name that readers of `*.parquet` do not find. */
export function dataName(number: number): string {
  return `part-${digits(number)}.whole`
}

export function noteName(number: number): string {
  return `part-${digits(number)}.json`
}

function digits(number: number): string {
  return String(number).padStart(5, '0')
}

/** The number of the partition whose note this is; undefined for other files. */
export function partOfNote(name: string): number | undefined {
  const [, number] = /^part-(\d{5})\.json$/.exec(name) ?? []
  return number === undefined ? undefined : Number(number)
}

const OURS = /^(plan\.json|part-\d{5}\.(whole|json)|\.plan\.json\.tmp|\.part-\d{5}\.(whole|json)\.tmp)$/

/**
 * Removes a staging folder and the files that a run makes in it, and nothing else. It enters no folder, so a link that
 * takes the folder's place meanwhile does no harm.
 *
 * @returns false when the folder stays, because it contains other files
 */
export async function clearStaging(staging: string): Promise<boolean> {
  try {
    for (const name of await readdir(staging)) if (OURS.test(name)) await rm(join(staging, name), { force: true })
    await rmdir(staging)
    return true
  } catch (error) {
    return errorCode(error) === 'ENOENT'
  }
}
