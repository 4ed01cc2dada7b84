import { join } from 'node:path'
import type { TableColumn } from './read/reader.ts'
import { type FinishedFile, TargetFile } from './target-file.ts'

/** What a run has written, as the JSON file beside it and as {@link extractTable} returns it. */
export interface ManifestContent {
  readonly batchId: string
  readonly source: string
  readonly schema: string
  readonly table: string
  readonly format: string
  readonly rows: number
  readonly bytes: number
  /** Times are ISO 8601 in UTC. */
  readonly extractedAt: string
  readonly startedAt: string
  readonly finishedAt: string
  readonly columns: readonly TableColumn[]
  /** What a reader of the data should know: infinities, NULL for NaN, row-level security. */
  readonly notes: readonly string[]
  readonly files: readonly (FinishedFile & { readonly rows: number })[]
}

export interface Manifest extends ManifestContent {
  /** The folder that holds the files and the manifest. */
  readonly folder: string
  /** The manifest's own path. */
  readonly path: string
}

/** Readers of a folder (Spark, DuckDB, Hive) pass over names that begin with an underscore. */
export async function writeManifest(folder: string, content: ManifestContent): Promise<Manifest> {
  const name = `_manifest-${content.batchId}.json`
  await using file = await TargetFile.create(folder, name)
  await file.write(Buffer.from(`${JSON.stringify(content, undefined, 2)}\n`))
  await file.finish()
  return { ...content, folder, path: join(folder, name) }
}
