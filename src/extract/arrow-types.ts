/**
 * The Arrow types that stand in public signatures. The comment below travels into the package's declarations: there
 * apache-arrow may not be installed, and a program that reads no table as Arrow must compile all the same.
 */

// biome-ignore lint/suspicious/noTsIgnore: where the package is installed there is no error to expect.
/** @ts-ignore: optional package; where it is missing these are `any`. */
export type { RecordBatch, Schema } from 'apache-arrow'
