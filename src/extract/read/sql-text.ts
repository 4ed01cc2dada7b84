/** What taking SQL apart has in common, whoever's SQL it is. */

import { invalid } from './selection.ts'

/** Where a comment ends that begins at `start`: those of this kind nest, in both databases. */
export function endOfComment(sql: string, start: number): number {
  let depth = 0
  for (let at = start; at < sql.length; at += 1) {
    if (sql.startsWith('/*', at)) depth += 1
    else if (sql.startsWith('*/', at)) depth -= 1
    else continue
    at += 1
    if (depth === 0) return at + 1
  }
  throw malformed('a comment is not closed')
}

export function malformed(what: string): Error {
  return invalid(`The SQL of the query cannot be used: ${what}.`, 'Give one whole expression or one whole select.')
}
