/** Limits of a connection's size. A larger one is a mistake, and every check would have to read it. */

/** A connection as a URI or JSON text, in characters. */
export const LONGEST_RECORD = 256 * 1024
/** The name of an option, in characters. */
export const LONGEST_KEY = 200
/** A secret, such as a token or a key, in characters; also any other text of the extras before its option is known. */
export const LONGEST_SECRET = 64 * 1024
/** The value of any other option, in characters. */
export const LONGEST_TEXT = 8 * 1024
/** Values in the extras, those of lists and objects counted one by one. */
export const MOST_VALUES = 1000
/** Parts of a connection beside its extras. */
export const MOST_PARTS = 100
/** A path: Linux' PATH_MAX, in bytes or characters. */
export const LONGEST_PATH = 4096
/** A file of connections, in bytes: room for some 50,000 of them. */
export const LARGEST_FILE = 4 * 1024 * 1024

export function tooLong(limit: number): string {
  return `is longer than ${limit} characters`
}
