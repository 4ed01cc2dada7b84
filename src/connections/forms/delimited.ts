/** The two grammars of texts such as `Server=db;Database=sales`: ADO.NET's and ODBC's. */

export interface DelimitedPair {
  readonly key: string
  readonly value: string
  /** How the value was written. */
  readonly quote: '"' | "'" | '{' | ''
  /** Whether another key follows. */
  readonly isLast: boolean
}

const nth = (index: number): string => `the ${['first', 'second', 'third'][index] ?? `${index + 1}th`} key`

/**
 * ADO.NET's grammar, as `DbConnectionStringBuilder` has it (Microsoft Learn, "Connection String Syntax"): blanks round
 * keys and values do not count, values with semicolons stand in quotes, and a quote in quotes is doubled.
 */
export function scanAdoNet(text: string): DelimitedPair[] | string {
  const found: Omit<DelimitedPair, 'isLast'>[] = []
  let at = 0
  const skip = (pattern: RegExp): void => {
    while (at < text.length && pattern.test(text[at] as string)) at++
  }
  for (;;) {
    skip(/[\s;]/)
    if (at === text.length) return lastMarked(found)
    const equals = text.indexOf('=', at)
    const key = text.slice(at, equals === -1 ? text.length : equals).trim()
    if (equals === -1 || key.includes(';')) return `${nth(found.length)} has no "="`
    if (key === '') return `${nth(found.length)} is empty`
    if (text[equals + 1] === '=') return `a "=" follows that of ${nth(found.length)}; ${IN_QUOTES}`
    at = equals + 1
    skip(/\s/)
    const quote = text[at]
    if (quote === '"' || quote === "'") {
      const end = closing(text, at + 1, quote)
      if (end === -1) return `the quote behind ${nth(found.length)} is not closed`
      const value = text.slice(at + 1, end).replaceAll(quote + quote, quote)
      at = end + 1
      skip(/\s/)
      if (at < text.length && text[at] !== ';') return `text follows the quotes behind ${nth(found.length)}`
      found.push({ key, value, quote })
    } else {
      const semicolon = text.indexOf(';', at)
      const end = semicolon === -1 ? text.length : semicolon
      const value = text.slice(at, end).trim()
      if (/["']$/.test(value)) return `the value behind ${nth(found.length)} ends in a quote; ${IN_QUOTES}`
      at = end
      found.push({ key, value, quote: '' })
    }
  }
}

const IN_QUOTES = 'write the value in double quotes'

/**
 * ODBC's grammar (Microsoft Learn, "SQLDriverConnect function"): blanks count, a value with semicolons stands in
 * braces, and a closing brace in braces is doubled. What Microsoft's driver drops without a word is refused: blanks round
 * a key, text behind a closing brace, a key without a value.
 */
export function scanOdbc(text: string): DelimitedPair[] | string {
  const found: Omit<DelimitedPair, 'isLast'>[] = []
  let at = 0
  for (;;) {
    while (text[at] === ';') at++
    if (at === text.length) return lastMarked(found)
    const equals = text.indexOf('=', at)
    const key = text.slice(at, equals === -1 ? text.length : equals)
    if (equals === -1 || key.includes(';')) return `${nth(found.length)} has no "="`
    if (key.trim() === '') return `${nth(found.length)} is empty`
    if (key !== key.trim()) {
      return `blanks stand round ${nth(found.length)}, and ODBC drops such a key without a word`
    }
    at = equals + 1
    if (text[at] === '{') {
      const end = closing(text, at + 1, '}')
      if (end === -1) return `the brace behind ${nth(found.length)} is not closed`
      const value = text.slice(at + 1, end).replaceAll('}}', '}')
      at = end + 1
      if (at < text.length && text[at] !== ';') {
        return `text follows the brace behind ${nth(found.length)}, and ODBC drops it without a word`
      }
      found.push({ key, value, quote: '{' })
    } else {
      const semicolon = text.indexOf(';', at)
      const end = semicolon === -1 ? text.length : semicolon
      const value = text.slice(at, end)
      if (value !== value.trim()) {
        const where = `blanks stand round the value behind ${nth(found.length)}`
        return `${where}, which ODBC keeps and other programs take off; write it in braces`
      }
      at = end
      found.push({ key, value, quote: '' })
    }
  }
}

/** Where the quote or brace ends, with doubled ones passed over; -1 if it does not. */
export function closing(text: string, from: number, quote: string): number {
  for (let at = text.indexOf(quote, from); at !== -1; at = text.indexOf(quote, at + 2)) {
    if (text[at + 1] !== quote) return at
  }
  return -1
}

function lastMarked(found: readonly Omit<DelimitedPair, 'isLast'>[]): DelimitedPair[] {
  return found.map((pair, index) => ({ ...pair, isLast: index === found.length - 1 }))
}
