/**
 * Part of the TDS server test double: translates the part of T-SQL that the tests use into PostgreSQL's SQL. It works
 * word by word and is not a parser.
 */

import { COLLATED } from './collations.ts'
import type { Parameter } from './parameters.ts'
import {
  BINARY,
  balanced,
  DESCRIBED,
  FUNCTIONS,
  functionOf,
  type Globals,
  global,
  isCatalogue,
  plain,
  quoteName,
  quoteText,
  SqlError,
  TEXTUAL,
  TYPES,
  WITH_SCALE,
  WITHOUT_LENGTH,
} from './translate-words.ts'
import { type Token, wordOf } from './tsql.ts'

export { type Globals, SqlError } from './translate-words.ts'

export interface Translated {
  readonly text: string
  readonly values: readonly (string | null)[]
}

export function translate(tokens: readonly Token[], parameters: readonly Parameter[], globals: Globals): Translated {
  const out: string[] = []
  const values: (string | null)[] = []
  const positions = new Map<string, number>()
  // One frame for each open parenthesis: the text to write where it closes.
  const frames: { limit?: string }[] = [{}]
  let returning: string | undefined
  let at = 0

  const next = (from: number): number => {
    let index = from
    while (tokens[index]?.kind === 'space') index++
    return index
  }
  const symbolAt = (index: number, text: string): boolean => {
    const token = tokens[index]
    return token?.kind === 'symbol' && token.text === text
  }
  /** The index after the parenthesis that closes the one at `open`. */
  const closing = (open: number): number => {
    let depth = 0
    for (let index = open; index < tokens.length; index++) {
      if (symbolAt(index, '(')) depth++
      else if (symbolAt(index, ')') && --depth === 0) return index + 1
    }
    return tokens.length
  }
  const sub = (from: number, to: number): string => {
    const inner = translate(tokens.slice(from, to), parameters, globals)
    // The inner text numbers its parameters from 1: append them to ours.
    const text = inner.text.replace(/\$(\d+)/g, (_, number) => `$${values.length + Number(number)}`)
    values.push(...inner.values)
    return text
  }
  const parameter = (name: string): string => {
    const found = parameters.find((one) => one.name.toLowerCase() === name.toLowerCase())
    if (found === undefined) throw new SqlError(137, 2, 15, `Must declare the scalar variable "@${name}".`)
    const known = positions.get(name)
    if (known !== undefined) return `($${known}${found.cast === undefined ? '' : `::${found.cast}`})`
    values.push(found.value)
    positions.set(name, values.length)
    return found.cast === undefined ? `$${values.length}` : `($${values.length}::${found.cast})`
  }
  const endFrame = (): void => {
    const frame = frames.at(-1)
    if (frame?.limit !== undefined) out.push(` limit ${frame.limit} `)
    if (frame !== undefined) delete frame.limit
  }

  while (at < tokens.length) {
    const token = tokens[at]
    if (token === undefined) break
    at++
    switch (token.kind) {
      case 'space':
        out.push(' ')
        continue
      case 'string':
        out.push(token.text)
        continue
      case 'number':
        out.push(token.text.startsWith('0x') ? `'\\x${token.text.slice(2)}'::bytea` : token.text)
        continue
      case 'variable':
        out.push(parameter(token.text))
        continue
      case 'global':
        out.push(global(token.text, globals))
        continue
      case 'symbol':
        if (token.text === '(') frames.push({})
        else if (token.text === ')') {
          endFrame()
          frames.pop()
        }
        out.push(token.text)
        continue
      case 'name':
        break
    }
    if (token.quoted || token.text.startsWith('#')) {
      const isSchema = token.quoted && isCatalogue(token.text) && symbolAt(next(at), '.')
      if (isSchema) {
        out.push(token.text.toLowerCase(), '.')
        at = next(next(at) + 1)
        const object = tokens[at]
        if (object?.kind === 'name') out.push(object.text.toLowerCase())
        at++
      } else out.push(quoteName(token.text))
      continue
    }
    const word = token.text.toLowerCase()
    const open = next(at)
    if (word === 'sys' && symbolAt(open, '.') && wordOf(tokens[next(open + 1)]) === 'dm_exec_connections') {
      const scheme = `${quoteText(globals.scheme)}::varchar(40) as auth_scheme`
      const encryption = `'${globals.encrypted ? 'TRUE' : 'FALSE'}'::varchar(40) as encrypt_option`
      out.push(`(select ${globals.spid} as session_id, ${scheme}, ${encryption})`)
      at = next(open + 1) + 1
      continue
    }
    const called = symbolAt(open, '(')
    if (word === 'select') {
      out.push('select')
      let peek = next(at)
      const distinct = wordOf(tokens[peek])
      if (distinct === 'distinct') peek = next(peek + 1)
      if (wordOf(tokens[peek]) !== 'top') continue
      const count = next(peek + 1)
      const end = symbolAt(count, '(') ? closing(count) : count + 1
      if (distinct === 'distinct') out.push(' distinct')
      const frame = frames.at(-1)
      const limit = sub(count, end)
      if (frame !== undefined) frame.limit = limit
      at = end
      continue
    }
    if (word === 'union') {
      endFrame()
      out.push('union')
      continue
    }
    if (word === 'output') {
      // OUTPUT is written before the values; RETURNING at the end.
      const stop = new Set(['values', 'where', 'select', 'default', 'from', 'into'])
      const listed: string[] = []
      let depth = 0
      const from = at
      while (at < tokens.length) {
        if (symbolAt(at, '(')) depth++
        if (symbolAt(at, ')')) depth--
        if (depth === 0 && stop.has(wordOf(tokens[at]) ?? '')) break
        at++
      }
      const list = tokens.slice(from, at).filter((one, index, all) => {
        const isPrefix = (candidate: Token | undefined): boolean =>
          ['inserted', 'deleted'].includes(wordOf(candidate) ?? '')
        const dot = one.kind === 'symbol' && one.text === '.'
        return !(isPrefix(one) || (dot && isPrefix(all[index - 1])))
      })
      listed.push(translate(list, parameters, globals).text)
      returning = listed.join('')
      continue
    }
    if (word === 'into' && wordOf(tokens[next(at)])?.startsWith('#')) {
      const isSelect = wordOf(tokens.find((one) => one.kind !== 'space')) === 'select'
      out.push(isSelect ? 'into temporary' : 'into')
      continue
    }
    if (word === 'table' && out.join('').trim().toLowerCase() === 'create') {
      const name = tokens[next(at)]
      out.push(name?.kind === 'name' && name.text.startsWith('#') ? 'temporary table' : 'table')
      continue
    }
    if (word === 'identity' && called) {
      out.push('generated by default as identity')
      at = closing(open)
      continue
    }
    if (
      word === 'with' &&
      called &&
      /\b(nolock|updlock|readpast|rowlock|holdlock|tablock|snapshot)\b/i.test(plain(tokens, open, closing(open)))
    ) {
      at = closing(open)
      continue
    }
    if ((word === 'convert' || word === 'try_convert') && called) {
      const end = closing(open)
      const commas = tokens.flatMap((_, index) =>
        index > open && index < end && symbolAt(index, ',') && balanced(tokens, open + 1, index) ? [index] : [],
      )
      const [first = end, second] = commas
      const type = sub(open + 1, first)
      const value = sub(first + 1, second ?? end - 1)
      const style = second === undefined ? 0 : Number(plain(tokens, second + 1, end - 1))
      const target = wordOf(tokens[next(open + 1)]) ?? ''
      if (BINARY.has(target) && style === 1) out.push(`decode(substr(${value}::text, 3), 'hex')`)
      else if (word === 'try_convert') {
        const bare = type.replace(/\(.*\)/, '')
        out.push(`mssql.try_cast((${value})::text, null::${bare})`)
      } else if (TEXTUAL.has(target) && (style === 1 || style === 2)) {
        out.push(`cast(mssql.styled(${value}, ${style}) as ${type})`)
      } else out.push(`cast(${value} as ${type})`)
      at = end
      continue
    }
    if (word === 'datediff' && called) {
      // Its first argument is a word.
      const part = next(open + 1)
      out.push('dbo.datediff(', quoteText(wordOf(tokens[part]) ?? ''))
      at = part + 1
      frames.push({})
      continue
    }
    if (word === 'collate') {
      // In a column's declaration it changes the type before it; elsewhere it sets how to compare.
      const name = tokens[open]?.text.toLowerCase()
      const collated = COLLATED.find((one) => one.name.toLowerCase() === name)
      const declared = out.findLastIndex((one) => one.trim() !== '' && !/^[\s\d()]*$/.test(one))
      if (collated !== undefined && out[declared] === 'varchar') out[declared] = `mssql.${collated.type}`
      at = open + 1
      continue
    }
    if (word === 'information_schema' && wordOf(tokens[next(next(at) + 1)]) === 'columns') {
      out.push('mssql.information_columns')
      at = next(next(at) + 1) + 1
      continue
    }
    if (word === 'percent' && /\btablesample\b/i.test(plain(tokens, 0, at))) continue
    if (word === 'count_big' && called) {
      out.push('count')
      continue
    }
    if (word === 'dm_exec_describe_first_result_set' && called && /^sys$/i.test(out.at(-2) ?? '')) {
      out.splice(-2, 2, DESCRIBED)
      at = closing(open)
      continue
    }
    if (called) {
      const simple = FUNCTIONS[word]
      if (simple !== undefined) {
        out.push(simple)
        at = closing(open)
        continue
      }
      const fact = functionOf(word, globals)
      if (fact !== undefined) {
        out.push(fact)
        at = closing(open)
        continue
      }
      if (word === 'object_id') {
        const end = closing(open)
        const variable = tokens.slice(open, end).find((one) => one.kind === 'variable')
        if (variable !== undefined) {
          out.push(`to_regclass(mssql.quoted(${parameter(variable.text)}::text))::oid::int`)
          at = end
          continue
        }
        const name = tokens.slice(open, end).find((one) => one.kind === 'string')
        const text = (name?.text ?? "''")
          .slice(1, -1)
          .replaceAll(/[[\]]/g, '')
          .replace(/^tempdb\.\.?/i, '')
        const quoted = text
          .split('.')
          .map((part) => quoteName(part))
          .join('.')
        out.push(`to_regclass(${quoteText(quoted)})::oid::int`)
        at = end
        continue
      }
    }
    if (word === 'tostring' && called && out.at(-1) === '.') {
      // A method of a CLR type; the value's text replaces its result.
      out[out.length - 1] = '::text'
      at = closing(open)
      continue
    }
    if (word === 'isnull' || word === 'len' || word === 'datalength') {
      out.push(word === 'isnull' ? 'coalesce' : word === 'len' ? 'char_length' : 'octet_length')
      continue
    }
    if (word === 'system_user' || word === 'suser_sname') {
      out.push(quoteText(globals.login))
      continue
    }
    // `dbo.money` or `t.time` is a column; `"name" money` and `as money` are types.
    const isMember = out.at(-1) === '.' || symbolAt(next(at), '.')
    const type = isMember ? undefined : TYPES[word]
    if (type !== undefined || word === 'varchar' || word === 'char') {
      const size = called
        ? plain(tokens, open, closing(open))
            .replaceAll(/[\s()]/g, '')
            .toLowerCase()
        : undefined
      if (size !== undefined && WITH_SCALE.has(word)) {
        // PostgreSQL accepts no modifier of 0, so it is written one higher and read one lower.
        out.push(`${type}(${Number(size) + 1})`)
        at = closing(open)
      } else if (size === 'max') {
        out.push(type === 'bytea' ? 'bytea' : 'text')
        at = closing(open)
      } else if (size !== undefined && WITHOUT_LENGTH.has(word)) {
        out.push(type ?? word)
        at = closing(open)
      } else out.push(type ?? word)
      continue
    }
    out.push(token.text)
  }
  endFrame()
  if (returning !== undefined) out.push(` returning ${returning}`)
  return { text: out.join(''), values }
}
