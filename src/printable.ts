/** Text that a peer, a file or the environment sent, made fit for a message, a log line and a terminal. */

/** C0 and C1 controls, DEL, bidirectional overrides, line and paragraph separators, lone surrogates. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu
const DEFAULT_MAXIMUM = 1000

/**
 * The text on one line, without control characters and of bounded length.
 *
 * A line break or tab becomes a space; every other control character becomes its code, as in `\x1b`, so that an escape
 * sequence of a terminal is seen and not obeyed. A text that is cut off ends with `…`.
 *
 * @param maximum in UTF-16 code units, before the mark; default 1000
 *
 * @example
 * printable('gone\n\x1b[2J') // 'gone \x1b[2J', with the four characters backslash, x, 1, b
 */
export function printable(text: string, maximum = DEFAULT_MAXIMUM): string {
  const cut = text.length > maximum
  const kept = cut ? text.slice(0, maximum) : text
  const line = kept.replace(/\s*[\r\n\t\v\f]+\s*/g, ' ').replace(UNPRINTABLE, codeOf)
  return cut ? `${line}…` : line
}

function codeOf(character: string): string {
  const code = character.charCodeAt(0)
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
}
