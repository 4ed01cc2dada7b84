/** The file that keeps a watermark from run to run. */

import { randomUUID } from 'node:crypto'
import { rename, rm, unlink } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { errorCode } from '../any-error.ts'
import { PoolsmithError } from '../errors.ts'
import { DistrustedFile, syncFolder } from '../private-file.ts'
import { isWatermark } from './check-plan.ts'
import { linkOrMove, readOwnText } from './files/own-files.ts'
import { TargetFile } from './files/target-file.ts'
import { writeFailure } from './files/write-failure.ts'
import { isName, isRecord, isUuid } from './json-checks.ts'
import type { ExtractPlan } from './plan.ts'
import type { Watermark } from './read/table.ts'

const VERSION = 1
/** For this user alone: a user who can write it can make a run leave rows out. */
const STATE_MODE = 0o600

export interface WatermarkState {
  readonly version: number
  readonly schema: string
  readonly table: string
  readonly watermark: Watermark
  /** The run that wrote it. */
  readonly batchId: string
  readonly savedAt: string
}

/**
 * Reads the file; undefined when there is none yet.
 *
 * @throws PoolsmithError STATE_INVALID
 */
export async function readState(path: string): Promise<WatermarkState | undefined> {
  const state = await readStateAt(path)
  // A run that was killed between its last two steps has left its state beside the file, and that state counts.
  const next = nextPath(path, state)
  if ((await readStateAt(next)) === undefined) return state
  await rename(next, path).catch(() => undefined)
  return readStateAt(path)
}

/**
 * @param open what the state is to be used for
 * @throws PoolsmithError STATE_INVALID
 */
export function checkState(
  state: WatermarkState | undefined,
  path: string | undefined,
  open: { readonly schema: string; readonly table: string },
): void {
  if (state === undefined || (state.schema === open.schema && state.table === open.table)) return
  throw badState(path ?? '', `is of ${state.schema}.${state.table}, not of ${open.schema}.${open.table}`)
}

/**
 * Reports before anything is read that the state could not be saved.
 *
 * @throws PoolsmithError TARGET_NOT_WRITABLE, DISK_FULL, WRITE_FAILED
 */
export async function tryState(path: string): Promise<void> {
  await using _probe = await TargetFile.create(dirname(path), `${basename(path)}.${randomUUID()}`, { mode: STATE_MODE })
}

async function readStateAt(path: string): Promise<WatermarkState | undefined> {
  let state: unknown
  try {
    state = JSON.parse(await readOwnText(path))
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw unreadable(path, error)
  }
  if (isState(state)) return state
  throw badState(path, 'is damaged, or was written by another version')
}

function unreadable(path: string, error: unknown): PoolsmithError {
  if (error instanceof SyntaxError) return badState(path, 'is damaged', error)
  if (!(error instanceof DistrustedFile)) return badState(path, 'cannot be read', error)
  const hint =
    error.kind === 'mode'
      ? 'If its content is yours, take that permission away (chmod go-w).'
      : 'Remove it, or name a state file in a folder that only this user can write.'
  return badState(path, `is not trusted: it ${error.reason}`, error).with({ hint })
}

/** Every member has its form; the batch's id becomes a part of a file name. */
function isState(value: unknown): value is WatermarkState {
  return (
    isRecord(value) &&
    value.version === VERSION &&
    isName(value.schema) &&
    isName(value.table) &&
    isWatermark(value.watermark) &&
    isUuid(value.batchId)
  )
}

/**
 * Replaces the state in one step, and only if it is still the one with which this run began.
 *
 * The new state is linked beside the file under a name made of the old one, which only one run can do. Then the file is
 * read again, and only then replaced. Without hard links (FAT, some network mounts) that reading is the only check.
 *
 * @throws PoolsmithError STATE_CONFLICT, and as {@link TargetFile}
 */
export async function saveWatermark(
  path: string,
  plan: ExtractPlan,
  before: WatermarkState | undefined,
): Promise<void> {
  const { batchId, schema, table, watermark } = plan
  if (watermark === undefined) throw new TypeError('The plan has no watermark to save.')
  const { column, type, high, identity, rows } = watermark
  const state: WatermarkState = {
    version: VERSION,
    schema,
    table,
    watermark: { column, type, high, identity, rows },
    batchId,
    savedAt: new Date().toISOString(),
  }
  const folder = dirname(path)
  const name = `${basename(path)}.${batchId}`
  const mine = `${folder}/${name}`
  const next = nextPath(path, before)
  try {
    await using file = await TargetFile.create(folder, name, { replaceLeftover: true, mode: STATE_MODE })
    await file.write(Buffer.from(`${JSON.stringify(state, undefined, 2)}\n`))
    await file.finish()
    const linked = await linkOnce(mine, next)
    if (!linked) throw conflict(path)
    await moveOn(path, next, before)
    // The state counts from here on. A failure now would remove the files that it counts as read.
    await syncFolder(folder).catch(() => undefined)
  } catch (error) {
    throw writeFailure(error, path)
  } finally {
    await rm(mine, { force: true }).catch(() => undefined)
  }
}

/**
 * Renames `next` to the state file. A run that begins meanwhile may find `next`, take it for the state of a killed run,
 * and rename it itself ({@link readState}): then this run has succeeded too. If renaming fails, `next` is removed, so
 * that no later run finds it.
 */
async function moveOn(path: string, next: string, before: WatermarkState | undefined): Promise<void> {
  try {
    const now = await readStateAt(path)
    if (now?.batchId !== before?.batchId) throw conflict(path)
    await rename(next, path)
  } catch (error) {
    const isTaken = await unlink(next).then(
      () => false,
      (failure: NodeJS.ErrnoException) => failure.code === 'ENOENT',
    )
    if (!isTaken) throw error
  }
}

/** False when another run was first. */
async function linkOnce(mine: string, next: string): Promise<boolean> {
  try {
    await linkOrMove(mine, next)
    return true
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false
    throw error
  }
}

function nextPath(path: string, before: WatermarkState | undefined): string {
  return `${path}.after-${before?.batchId ?? 'nothing'}`
}

function badState(path: string, what: string, cause?: unknown): PoolsmithError {
  return new PoolsmithError(`The state file ${path} ${what}.`, {
    code: 'STATE_INVALID',
    phase: 'config',
    hint: 'Restore the file, or remove it and give `after` by hand: the last manifest has the watermark.',
    details: { path },
    cause,
  })
}

function conflict(path: string): PoolsmithError {
  return new PoolsmithError(`Another run has replaced ${path} since this run began.`, {
    code: 'STATE_CONFLICT',
    phase: 'write',
    hint: 'Let only one run at a time use a state file. The other run has read the same rows.',
    details: { path },
  })
}
