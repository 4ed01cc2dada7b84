/** The door `poolsmith/extract`: tables and queries into files, record batches and plans. */

export type { Drift } from './drift.ts'
export { type ConsumePartitionOptions, extractPartition, type PartitionOptions } from './extract-partition.ts'
export { extractTable } from './extract-table.ts'
export type { Manifest, ManifestContent, ManifestFile } from './manifest.ts'
export {
  type BatchConsumer,
  type BatchInfo,
  type ConsumeOptions,
  EXTRACT_FORMATS,
  type ExtractFormat,
  type ExtractOptions,
  type WatermarkOptions,
} from './options.ts'
export type { ExtractPlan } from './plan.ts'
export { type HeldPlan, type PlanOptions, planExtract } from './plan-extract.ts'
export type { Progress } from './progress.ts'
export type {
  BoundSql,
  BoundValue,
  Condition,
  ExtractEngine,
  ExtractSource,
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
