/** One partition into one file with a manifest. */

import type { Drift } from './drift.ts'
import type { Manifest, ManifestFile } from './manifest.ts'
import type { ReportOptions } from './options.ts'
import { makeFolders } from './own-files.ts'
import { folderOf, partName } from './plan.ts'
import type { Run } from './run.ts'
import { sweep } from './sweep.ts'
import { TargetFile } from './target-file.ts'
import { writePart } from './write-part.ts'

export interface OneFileOptions extends ReportOptions {
  readonly to: string
  readonly onDrift?: ((drift: Drift) => unknown) | undefined
}

/** Of a plan with several partitions, the one that this file holds. */
export interface OneOfMany {
  readonly number: number
  readonly label: string
  readonly manifestName: string
}

/** @param one undefined when the plan has only one partition */
export async function intoOneFile(run: Run, options: OneFileOptions, one?: OneOfMany): Promise<Manifest> {
  const { open, plan } = run
  const { to, onDrift, onProgress } = options
  const number = one?.number ?? 0
  const folder = folderOf(plan, to)
  await sweep(folder)
  const drift = await run.drift(folder, onDrift)
  await makeFolders(to, folder)
  // Of a plan, only the session with the claim writes a part: a temporary file was left by a run that was killed.
  await using file = await TargetFile.create(folder, partName(plan, number), { replaceLeftover: one !== undefined })
  const meter = run.partMeter(onProgress)
  const { rows, notes } = await writePart({ open, plan, number, count: (more) => meter.add(more, file.bytes) }, file)
  const finished = await file.finish()
  const facts: ManifestFile =
    one === undefined ? { ...finished, rows } : { ...finished, rows, partition: number, label: one.label }
  const outcome = { rows, notes, files: [facts], drift, ...(one === undefined ? {} : { partition: number }) }
  const manifest = await run.publish(folder, outcome, plan, one?.manifestName).catch(async (error: unknown) => {
    await file.withdraw()
    throw error
  })
  meter.finish(file.bytes)
  return manifest
}
