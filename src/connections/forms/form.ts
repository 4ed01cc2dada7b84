import type { ConfigProblem } from '../../errors.ts'

/** A connection in some form, taken apart but not checked. */
export interface FormReading {
  /** The parts under the names of `ConnectionObject`. */
  readonly record: Readonly<Record<string, unknown>>
  /** The problems of the form itself. No message repeats any part of the text. */
  readonly problems: readonly ConfigProblem[]
}

/** A way in which people write a connection as a text. */
export interface TextForm {
  /** Whether a text, without blanks around it, is written in this form. */
  recognises(text: string): boolean
  read(text: string): FormReading
}

/** The reading of something that cannot be taken apart. */
export function unreadable(message: string): FormReading {
  return { record: {}, problems: [{ path: '', message }] }
}
