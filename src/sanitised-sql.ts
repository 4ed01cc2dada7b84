/** The text of a statement without the values that are written in it. */

import type { DatabaseSystem } from './events.ts'

/**
 * Comments, quoted identifiers, strings of each kind, parameters, and numbers. An unfinished string reaches to the end.
 * Brackets quote an identifier in SQL Server alone.
 */
const PARTS = [
  String.raw`--[^\n]*|/\*[\s\S]*?(?:\*/|$)`,
  String.raw`(?<identifier>"(?:[^"]|"")*")`,
  String.raw`\be'(?:[^'\\]|\\[\s\S]|'')*(?:'|$)|'(?:[^']|'')*(?:'|$)`,
  String.raw`(?<tag>\$(?:[a-z_][a-z_\d]*)?\$)[\s\S]*?(?:\k<tag>|$)`,
  String.raw`(?<parameter>\$\d+)`,
  String.raw`\b\d[\w.]*`,
]
const POSTGRES = new RegExp(PARTS.join('|'), 'gi')
const SQL_SERVER = new RegExp([String.raw`(?<bracketed>\[(?:[^\]]|\]\])*\])`, ...PARTS].join('|'), 'gi')

/** The text of a statement without the values that are written in it. */
export function sanitised(text: string, system: DatabaseSystem | undefined): string {
  const parts = system === 'microsoft.sql_server' ? SQL_SERVER : POSTGRES
  return text
    .replace(parts, (part: string, ...rest: unknown[]) => {
      if (part.startsWith('--') || part.startsWith('/*')) return ' '
      const { identifier, bracketed, parameter } = rest.at(-1) as Record<string, string | undefined>
      return identifier ?? bracketed ?? parameter ?? '?'
    })
    .trim()
}
