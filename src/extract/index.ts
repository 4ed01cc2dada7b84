/** The door `poolsmith/extract`: tables and queries into files, record batches and plans. */

import '../supported-node.ts'

export type { BoundValue } from '../drivers/sqlserver/bound-value.ts'
export type { Drift } from './drift.ts'
export { type ConsumePartitionOptions, extractPartition, type PartitionOptions } from './extract-partition.ts'
export { extractTable } from './extract-table.ts'
export type { WriteMode } from './files/day-folder.ts'
export { type FinishOptions, finishPlan } from './finish-plan.ts'
export { EXTRACT_FORMATS, type ExtractFormat } from './formats.ts'
export type { Manifest, ManifestContent, ManifestFile } from './manifest.ts'
export type {
  BatchConsumer,
  BatchInfo,
  ConsumeOptions,
  ExtractOptions,
  WatermarkOptions,
} from './options.ts'
export type { ExtractPlan } from './plan.ts'
export { type HeldPlan, type PlanOptions, planExtract } from './plan-extract.ts'
export type { Progress } from './progress.ts'
export type {
  BoundSql,
  Condition,
  ExtractEngine,
  ExtractSource,
  Fingerprint,
  MarkValue,
  Partition,
  QuerySource,
  ReadOptions,
  TableColumn,
  TableName,
  Watermark,
  WhereCallback,
} from './read/table.ts'
export { readTable } from './read-table.ts'
