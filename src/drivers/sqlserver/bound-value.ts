/** A statement with its values apart, as plain JSON. */

/** A value of a statement. */
export interface BoundValue {
  /** The type that its parameter is declared with. */
  readonly type: 'bigint' | 'float' | 'bit' | 'datetime2' | 'varbinary' | 'nvarchar' | 'varchar'
  /** With every digit; moments as ISO 8601 in UTC, bytes in Base64. */
  readonly value: string | null
}

/** The text that the server is sent: `@p0`, `@p1` and so on stand for the values. */
export interface Statement {
  readonly text: string
  readonly values: readonly BoundValue[]
}

/** Whether a text has the same characters in every code page. */
export function isAscii(text: string): boolean {
  return /^\p{ASCII}*$/u.test(text)
}
