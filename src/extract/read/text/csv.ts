/** Fields of CSV. */

/** RFC 4180: quoted when it must be, quotes doubled. */
export function csvField(text: string): string {
  return /[",\r\n]/.test(text) || text === '' ? `"${text.replaceAll('"', '""')}"` : text
}

/**
 * The characters at which a spreadsheet takes a text for a formula, with their full-width forms (OWASP: "CSV
 * Injection"). Each is one UTF-16 code unit.
 */
export const FORMULA_STARTS = '=+-@\t\r\n\uff1d\uff0b\uff0d\uff20'

const FORMULA = new RegExp(`^[${FORMULA_STARTS.replace('-', '\\-')}]`)

/** The text, with an apostrophe before it where a spreadsheet would take it for a formula. */
export function guardFormula(text: string): string {
  return FORMULA.test(text) ? `'${text}` : text
}
