/**
 * The Arrow types that public signatures lead to. The comments below travel into the package's declarations: there
 * apache-arrow may not be installed, and a program that reads no table as Arrow must compile all the same.
 */

// biome-ignore lint/suspicious/noTsIgnore: where the package is installed there is no error to expect.
/** @ts-ignore: optional package; where it is missing this is `any`. */
import type * as arrow from 'apache-arrow'

// biome-ignore lint/suspicious/noTsIgnore: where the package is installed there is no error to expect.
/** @ts-ignore: optional package; where it is missing these are `any`. */
export type { Data, RecordBatch, Schema } from 'apache-arrow'

export type Arrow = typeof arrow
