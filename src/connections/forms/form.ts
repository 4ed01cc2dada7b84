import type { ConfigProblem } from '../../errors.ts'

/** A connection in some form, taken apart but not checked. */
export interface FormReading {
  /** The parts under the names of `ConnectionObject`. */
  readonly record: Readonly<Record<string, unknown>>
  /** The problems of the form itself. No message repeats any part of the text. */
  readonly problems: readonly ConfigProblem[]
  /** Keys that were left out because they change nothing here, each with the reason. */
  readonly notes?: readonly ConfigProblem[]
  /**
   * Whether an option that is unknown here is an error: the program that the form belongs to would refuse it, or drop it
   * in silence.
   */
  readonly closed?: boolean
}

/** A way in which people write a connection as a text. */
export interface TextForm {
  /** Whether a text, without blanks around it, is written in this form. */
  recognises(text: string): boolean
  read(text: string): FormReading
}

/** A key and its value, as a form has them. */
export type Pair = readonly [key: string, value: string]

/** The reading of something that cannot be taken apart. */
export function unreadable(message: string): FormReading {
  return { record: {}, problems: [{ path: '', message }] }
}

/** The reading of a text that is refused for problems of single parts. */
export function refused(type: 'postgres' | 'mssql', ...problems: readonly ConfigProblem[]): FormReading {
  return { record: { type }, problems }
}

/** The readings of the same text by two programs. */
export type Readings = readonly [one: string, other: string]

/**
 * The problem of a text that two programs read differently, so that another server, database, user or password would
 * come out.
 *
 * @param path the part that differs
 * @param readings what each program does, without the value
 * @param write the spelling that all of them read alike
 */
export function readDifferently(path: string, readings: Readings, write: string): ConfigProblem {
  return { path, message: `is read differently: ${readings[0]}, ${readings[1]}; ${write}` }
}
