/** Writes one partition into one file with a manifest. */

import type { Drift } from './drift.ts'
import { DayFolder, type WriteMode } from './files/day-folder.ts'
import { sweep } from './files/sweep.ts'
import { TargetFile } from './files/target-file.ts'
import type { Manifest, ManifestFile } from './manifest.ts'
import type { ReportOptions } from './options.ts'
import { folderOf, partName } from './plan.ts'
import type { Run } from './run.ts'
import { writePart } from './write-part.ts'

export interface OneFileOptions extends ReportOptions {
  readonly to: string
  readonly onDrift?: ((drift: Drift) => unknown) | undefined
  readonly mode?: WriteMode | undefined
}

/** The partition in the file, of a plan for several machines. */
export interface OneOfMany {
  readonly number: number
  readonly label: string
  readonly manifestName: string
}

/** @param one undefined when the plan has only one partition */
export async function intoOneFile(run: Run, options: OneFileOptions, one?: OneOfMany): Promise<Manifest> {
  const { open, plan } = run
  const { to, onDrift, onProgress, mode = 'append' } = options
  const number = one?.number ?? 0
  const folder = folderOf(plan, to)
  await sweep(folder)
  const drift = await run.drift(folder, onDrift)
  await using day = await DayFolder.open(to, folder, mode, plan.batchId)
  // Only the session that has claimed a part writes it, so a temporary file of it was left by a killed run.
  await using file = await TargetFile.create(day.files, partName(plan, number), { replaceLeftover: one !== undefined })
  const meter = run.partMeter(onProgress)
  const { rows, notes } = await writePart({ open, plan, number, count: (more) => meter.add(more, file.bytes) }, file)
  const finished = await file.finish()
  const facts: ManifestFile =
    one === undefined ? { ...finished, rows } : { ...finished, rows, partition: number, label: one.label }
  const outcome = { rows, notes, files: [facts], drift, partition: one?.number }
  const manifest = await run.publish(day, outcome, plan, one?.manifestName).catch(async (error: unknown) => {
    await file.withdraw()
    throw error
  })
  meter.finish(file.bytes)
  return manifest
}
