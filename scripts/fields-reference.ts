import type { Field, Fields } from '../src/connections/fields.ts'
import { Secret } from '../src/secret.ts'

/**
 * Renders a table of fields as a Markdown table, for the reference of the extras.
 *
 * @example
 * fieldsReference({ sslmode: oneOf(['disable', 'require'], { default: 'require', description: 'Use of TLS.' }) })
 * // | Name | Type | Default | Meaning |
 * // | --- | --- | --- | --- |
 * // | `sslmode` | `disable \| require` | `require` | Use of TLS. |
 */
export function fieldsReference(fields: Fields): string {
  const rows = Object.entries(fields).map(([name, field]: [string, Field<unknown>]) => {
    const aliases = field.aliases.map((alias) => code(alias)).join(', ')
    return [
      code(name),
      code(field.type),
      shownDefault(field.default),
      `${cell(field.description)}${aliases === '' ? '' : ` Also: ${aliases}.`}`,
    ]
  })
  return [['Name', 'Type', 'Default', 'Meaning'], ['---', '---', '---', '---'], ...rows]
    .map((cells) => `| ${cells.join(' | ')} |\n`)
    .join('')
}

function shownDefault(value: unknown): string {
  if (value === undefined || value instanceof Secret) return ''
  if (Array.isArray(value)) return value.length === 0 ? '' : code(value.join(','))
  return code(String(value))
}

function code(text: string): string {
  return `\`${cell(text)}\``
}

/** A bar ends a cell even inside code, and a line's end ends the row. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll(/\s+/g, ' ').trim()
}
