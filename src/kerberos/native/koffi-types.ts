/**
 * koffi's types, which public signatures lead to. The comments below travel into the package's declarations: there
 * koffi may not be installed, and a program that does without Kerberos must compile all the same.
 */

// biome-ignore lint/suspicious/noTsIgnore: where the package is installed there is no error to expect.
/** @ts-ignore: optional package; where it is missing these are `any`. */
import type koffi from 'koffi'

// biome-ignore lint/suspicious/noTsIgnore: where the package is installed there is no error to expect.
/** @ts-ignore: optional package; where it is missing these are `any`. */
export type { LibraryHandle, TypeObject } from 'koffi'

export type Koffi = typeof koffi
