/**
 * The Arrow types of public signatures. The comments below are copied into the package's declarations: apache-arrow may
 * not be installed there, and a program that reads no table as Arrow must still compile.
 */

// biome-ignore lint/suspicious/noTsIgnore: there is no error to expect where the package is installed.
/** @ts-ignore: optional package; where it is missing this is `any`. */
import type * as arrow from 'apache-arrow'

// biome-ignore lint/suspicious/noTsIgnore: there is no error to expect where the package is installed.
/** @ts-ignore: optional package; where it is missing these are `any`. */
export type { Data, RecordBatch, Schema } from 'apache-arrow'

export type Arrow = typeof arrow
