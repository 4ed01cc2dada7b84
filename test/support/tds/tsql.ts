/** Part of the TDS server test double: T-SQL cut into words and statements. */

export type Token =
  | { readonly kind: 'space' | 'string' | 'number' | 'symbol' | 'variable' | 'global'; readonly text: string }
  /** A name: `text` is the name without quotes. */
  | { readonly kind: 'name'; readonly text: string; readonly quoted: boolean }

const PATTERN =
  /(?<space>\s+|--[^\n]*|\/\*[\s\S]*?\*\/)|(?<string>[Nn]?'(?:[^']|'')*')|(?<bracket>\[(?:[^\]]|\]\])*\])|(?<quoted>"(?:[^"]|"")*")|(?<global>@@\w+)|(?<variable>@[\w$#]+)|(?<word>#{0,2}[\p{L}_][\p{L}\p{N}_$#]*)|(?<number>0x[0-9A-Fa-f]*|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?<symbol><>|!=|<=|>=|[\s\S])/uy

export function tokenize(text: string): Token[] {
  const tokens: Token[] = []
  PATTERN.lastIndex = 0
  while (PATTERN.lastIndex < text.length) {
    const groups = PATTERN.exec(text)?.groups
    if (groups === undefined) throw new Error(`T-SQL: cannot read ${text.slice(PATTERN.lastIndex)}`)
    if (groups.space !== undefined) tokens.push({ kind: 'space', text: ' ' })
    else if (groups.string !== undefined) tokens.push({ kind: 'string', text: groups.string.replace(/^[Nn]/, '') })
    else if (groups.bracket !== undefined)
      tokens.push({ kind: 'name', quoted: true, text: groups.bracket.slice(1, -1).replaceAll(']]', ']') })
    else if (groups.quoted !== undefined)
      tokens.push({ kind: 'name', quoted: true, text: groups.quoted.slice(1, -1).replaceAll('""', '"') })
    else if (groups.global !== undefined) tokens.push({ kind: 'global', text: groups.global.toUpperCase() })
    else if (groups.variable !== undefined) tokens.push({ kind: 'variable', text: groups.variable.slice(1) })
    else if (groups.word !== undefined) tokens.push({ kind: 'name', quoted: false, text: groups.word })
    else if (groups.number !== undefined) tokens.push({ kind: 'number', text: groups.number })
    else tokens.push({ kind: 'symbol', text: groups.symbol ?? '' })
  }
  return tokens
}

/** The word in lower case when the token is an unquoted name. */
export function wordOf(token: Token | undefined): string | undefined {
  return token?.kind === 'name' && !token.quoted ? token.text.toLowerCase() : undefined
}

/** The parts of a list, between its commas. */
export function items(tokens: readonly Token[]): Token[][] {
  const all: Token[][] = [[]]
  let depth = 0
  for (const token of tokens) {
    if (token.kind === 'symbol' && token.text === '(') depth++
    if (token.kind === 'symbol' && token.text === ')') depth--
    if (token.kind === 'symbol' && token.text === ',' && depth === 0) all.push([])
    else all.at(-1)?.push(token)
  }
  return all
}

/** The temporary tables that a text creates. */
export function temporaryTables(text: string): string[] {
  const words = tokenize(text).filter((token) => token.kind !== 'space')
  return words
    .filter(({ text: name }, index) => {
      const [first, second] = [wordOf(words[index - 2]), wordOf(words[index - 1])]
      return name.startsWith('#') && (second === 'table' ? first === 'create' : second === 'into' && first !== 'insert')
    })
    .map((token) => token.text)
}
