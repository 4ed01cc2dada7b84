/** Text that a spreadsheet would take for a formula, in CSV that the server writes. */

import { FORMULA_STARTS } from '../text/csv.ts'
import type { Catalogue, CatalogueColumn } from './catalogue.ts'
import { baseType } from './ground.ts'
import { quoteText } from './sql.ts'

/** Types whose text is a number, a moment, a truth value, hexadecimal or a UUID, by oid (pg_type.dat). */
const NO_FORMULAS = new Set([
  16, 17, 20, 21, 23, 26, 28, 29, 700, 701, 790, 1082, 1083, 1114, 1184, 1186, 1266, 1700, 2950, 5069,
])

export function mayBeFormula(catalogue: Catalogue, column: CatalogueColumn): boolean {
  return !NO_FORMULAS.has(baseType(catalogue, column).oid)
}

/** @param text an expression of type text */
export function guardedExpression({ serverEncoding }: Catalogue, text: string): string {
  // Another encoding may not have the full-width forms, and then no text has them.
  const starts = [...FORMULA_STARTS].filter((character) => character < '\x80' || serverEncoding === 'UTF8')
  const list = quoteText(`{${starts.map((character) => `"${character}"`).join(',')}}`)
  const isFormula = `pg_catalog.left(${text}, 1) = any (${list}::pg_catalog.text[])`
  return `case when ${isFormula} then pg_catalog.concat('''', ${text}) else ${text} end`
}
