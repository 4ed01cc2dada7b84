/**
 * Percent-encoding with the exact results of Python's `urllib.parse`, which is what Airflow reads and writes
 * connection URIs with. JavaScript's own functions differ: `decodeURIComponent` throws on a lone `%`, where
 * Python lets it stand, and `encodeURIComponent` leaves `!'()*` as they are.
 */

/** Encodes everything but letters, digits and `_.-~` (Python: `quote(text, safe='')`). */
export function quote(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

/** Decodes `%xx` as UTF-8. A `%` that begins no escape stays; bytes that are not UTF-8 become U+FFFD. */
export function unquote(text: string): string {
  return text.replace(/(?:%[0-9a-f]{2})+/gi, (run) => Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8'))
}

/** As {@link quote}, with a space as `+` (Python: `quote_plus`). For queries only. */
export function quotePlus(text: string): string {
  return quote(text).replaceAll('%20', '+')
}

/** Writes a query. */
export function writeQuery(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([key, value]) => `${quotePlus(key)}=${quotePlus(value)}`)
    .join('&')
}

/**
 * Reads a query (Python: `dict(parse_qsl(query, keep_blank_values=True))`): `+` is a space, a key without `=` has
 * the empty value, and of a key that is given twice the last value counts.
 */
export function readQuery(query: string): Record<string, string> {
  const pairs = query
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair): [string, string] => {
      const equals = pair.indexOf('=')
      const key = equals === -1 ? pair : pair.slice(0, equals)
      const value = equals === -1 ? '' : pair.slice(equals + 1)
      return [unquote(key.replaceAll('+', ' ')), unquote(value.replaceAll('+', ' '))]
    })
  // fromEntries defines own properties, so that a key named __proto__ is only a key.
  return Object.fromEntries(pairs)
}
