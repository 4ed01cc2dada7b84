/** How far a JSON text must be read closely: no integer of fewer digits exceeds 2^53. */
const LONG_DIGITS = /\d{16}/

/**
 * As `JSON.parse`, but an integer that JavaScript's numbers cannot hold becomes its digits as a text, as options take
 * them too; rounding would change it without a word.
 */
export function parseJson(text: string): unknown {
  return LONG_DIGITS.test(text) ? JSON.parse(text, exact) : JSON.parse(text)
}

function exact(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  const source = context?.source ?? ''
  return typeof value === 'number' && /^-?\d+$/.test(source) ? exactInteger(value, source) : value
}

/** The number where it is written with the same digits as the text, else the text. */
export function exactInteger(value: number, source: string): number | string {
  return Number.isSafeInteger(value) || String(value) === source ? value : source
}
