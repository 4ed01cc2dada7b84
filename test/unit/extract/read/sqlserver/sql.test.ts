import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  boundValue,
  compiled,
  declarations,
  derived,
  shownSql,
  sql,
  whereClause,
  whole,
} from '../../../../../src/extract/read/sqlserver/sql.ts'
import { tokenize } from '../../../../support/tds/tsql.ts'

test('values are parameters, numbered in the order of the pieces', () => {
  const where = whole({ sql: '[a] = ? and [b?] in (?, ?)', bindings: ["x' or 1=1 --", 2n, null] })
  const { text, values } = compiled(sql`select 1 as one from ${'[t]'}${whereClause([where, sql`[c] > ${where}`])}`)
  assert.equal(
    text,
    'select 1 as one from [t] where ([a] = @p0 and [b?] in (@p1, @p2)\n) and ([c] > [a] = @p3 and [b?] in (@p4, @p5)\n)',
  )
  assert.deepEqual(
    values.map(({ type, value }) => `${type} ${value}`),
    ["varchar x' or 1=1 --", 'bigint 2', 'nvarchar null', "varchar x' or 1=1 --", 'bigint 2', 'nvarchar null'],
  )
  assert.equal(declarations(where.values), '@p0 varchar(max), @p1 bigint, @p2 nvarchar(max)')
})

test('a question mark is a place only outside of quotes and comments', () => {
  const cases: readonly [string, string][] = [
    ["[a] = '?' and [b] = ?", "[a] = '?' and [b] = @p0"],
    ["[a] = 'it''s ?' and [b] = ?", "[a] = 'it''s ?' and [b] = @p0"],
    ['"?""?" = ?', '"?""?" = @p0'],
    ['[?]]?] = ?', '[?]]?] = @p0'],
    ['a = ? -- what?\n', 'a = @p0 -- what?'],
    ['a /* ? /* ? */ ? */ = ?', 'a /* ? /* ? */ ? */ = @p0'],
    ["a like '\\?' and b = ?", "a like '?' and b = @p0"],
  ]
  for (const [given, expected] of cases) {
    assert.equal(compiled(whole({ sql: given, bindings: [1] })).text.trim(), expected)
  }
  assert.equal(compiled(whole("select 'a?' as [?] where 1 = 1;")).text, "select 'a?' as [?] where 1 = 1")
  assert.equal(shownSql(whole("select 'a?'")), "select 'a?'")
})

test('no text reaches beyond its brackets', () => {
  const bad = [
    '1 = 1) or (1 = 1',
    '1 = 1; drop table t',
    "a = 'x",
    'a = "x',
    'a = [x',
    'a = (1',
    'a /* b',
    'a /* /* */ b',
    'a --\rb',
    'a ; b',
    'a ; -- b\n c',
    '(a ; /* b */',
    "a ; 'b",
  ]
  for (const one of bad) {
    assert.throws(() => whole(one), { code: 'CONFIG_INVALID' }, one)
  }
  // A comment of the piece ends with it.
  assert.equal(
    compiled(sql`select 1${whereClause([whole('a = 1 -- ')])} or 1`).text,
    'select 1 where (a = 1 --\n) or 1',
  )
})

test('a byte order mark, and what follows the last semicolon, are left out', () => {
  for (const end of [';', ' ; ; ', '; -- done', ';\n/* done; /* nested */ */\n--', '\n']) {
    assert.equal(compiled(whole(`\ufeffselect ';' as [a;] -- b;\n, 2${end}`)).text, "select ';' as [a;] -- b;\n, 2")
  }
  assert.equal(compiled(whole({ sql: 'select ? ; -- ?', bindings: [1] })).text, 'select @p0')
})

test('text that is accepted stays in its brackets by another lexer of T-SQL', () => {
  const piece = fc.constantFrom(
    ';',
    "'",
    '"',
    '[',
    ']',
    '(',
    ')',
    '--',
    '/*',
    '*/',
    '\n',
    'a',
    '?',
    ' ',
    "''",
    ']]',
    '\\?',
  )
  let passed = 0
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      let made: string
      try {
        const text = pieces.join('')
        made = compiled(sql`select 1 where (${whole(text)}\n) and [end] = 1`).text
      } catch {
        // Refused: that is safe.
        return
      }
      // The double's own words, but for comments within comments, which it does not know.
      if (/\/\*[\s\S]*\/\*/.test(made)) return
      let depth = 0
      const outside = tokenize(made).filter((token) => {
        if (token.kind === 'symbol' && token.text === '(') depth += 1
        const isOutside = depth === 0
        if (token.kind === 'symbol' && token.text === ')') depth -= 1
        return isOutside && token.kind !== 'space'
      })
      assert.equal(outside.map(({ text }) => text).join(' '), 'select 1 where and end = 1')
      assert.equal(depth, 0)
      passed += 1
    }),
    { numRuns: 5000 },
  )
  assert.ok(passed > 300, String(passed))
})

test('a query takes the place of a table, and one with WITH becomes the last of its expressions', () => {
  const plain = derived(whole('select 1 as a'), '[q]')
  assert.equal(
    compiled(sql`${plain.before}select [a] from ${plain.from}`).text,
    'select [a] from (\nselect 1 as a\n) as [q]',
  )
  const text =
    '/* select */ with a as (select ? as x), [select] as (select x from a where x > ?) select * from [select] where x = ?'
  const { before, from } = derived(whole({ sql: text, bindings: [1, 2, 3] }), '[q]')
  const statement = compiled(sql`${before}select [x] from ${from}`)
  assert.equal(
    statement.text,
    '/* select */ with a as (select @p0 as x), [select] as (select x from a where x > @p1) \n, [q] as (\n' +
      'select * from [select] where x = @p2\n) select [x] from [q]',
  )
  assert.deepEqual(
    statement.values.map(({ value }) => value),
    ['1', '2', '3'],
  )
  assert.throws(() => derived(whole('with a as (select 1 as x) delete from a'), '[q]'), /selects nothing/)
})

test('values keep all their digits', () => {
  const cases: readonly [unknown, string, string | null][] = [
    ['ä?', 'nvarchar', 'ä?'],
    [9007199254740993n, 'bigint', '9007199254740993'],
    [5, 'bigint', '5'],
    [0.1, 'float', '0.1'],
    [true, 'bit', '1'],
    [null, 'nvarchar', null],
    [new Date('2024-02-29T01:02:03.004Z'), 'datetime2', '2024-02-29T01:02:03.004Z'],
    [Uint8Array.of(0, 255), 'varbinary', 'AP8='],
  ]
  for (const [value, type, text] of cases) assert.deepEqual(boundValue(value), { type, value: text })
  for (const value of [undefined, {}, [1], Number.NaN, Number.POSITIVE_INFINITY, new Date(Number.NaN), Symbol('a')]) {
    assert.throws(() => boundValue(value), { code: 'CONFIG_INVALID' })
  }
})

test('values of a plan that do not fit their places are an error', () => {
  assert.throws(() => whole({ sql: '? = ?', values: [] }), { code: 'CONFIG_INVALID' })
})
