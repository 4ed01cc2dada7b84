import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { fragment, inline, literal, quoteText } from '../../../../../src/extract/read/postgres/sql.ts'

/** Where an escape string constant ends, by the manual's rules alone: a position after its last quote, or none. */
function endOfConstant(text: string): number | undefined {
  if (!text.startsWith("E'")) return undefined
  for (let at = 2; at < text.length; at += 1) {
    if (text[at] === '\\') at += 1
    else if (text[at] === "'" && text[at + 1] === "'") at += 1
    else if (text[at] === "'") return at + 1
  }
  return undefined
}

const nasty = fc.array(
  fc.constantFrom("'", '\\', '"', '$', '$$', '--', '/*', '*/', ';', '\n', '?', '\\?', 'é', '🛩', ' ', 'a'),
)
const anyText = fc.oneof(
  nasty.map((parts) => parts.join('')),
  fc.string({ unit: 'grapheme' }),
)

test('no text ends its own literal', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      const constant = quoteText(text.replaceAll('\0', ''))
      assert.equal(endOfConstant(constant), constant.length)
    }),
    { numRuns: 2000 },
  )
})

test('text that no statement can hold is refused', () => {
  for (const value of ['a\0b', '\ud800', ['x', '\udc00'], { key: 'a\0' }, () => 1, Symbol('x'), new Date(Number.NaN)]) {
    if (typeof value === 'object' && 'key' in value) assert.doesNotThrow(() => literal(value), 'JSON escapes it')
    else assert.throws(() => literal(value), { code: 'CONFIG_INVALID' }, String(value))
  }
})

test('values have the form in which pg sends them', () => {
  const cases: readonly [unknown, string][] = [
    [null, '(null)'],
    [5, "(E'5')"],
    [-1.5e-7, "(E'-1.5e-7')"],
    [Number.NaN, "(E'NaN')"],
    [9223372036854775807n, "(E'9223372036854775807')"],
    [false, "(E'false')"],
    ["o'k\\", "(E'o''k\\\\')"],
    [new Date('2024-03-31T00:30:00.123Z'), "(E'2024-03-31 00:30:00.123+00')"],
    [Buffer.from([0, 255, 39]), "(E'\\\\x00ff27')"],
    [[1, null, 'a"b\\', [true]], String.raw`(E'{"1",NULL,"a\\"b\\\\",{"true"}}')`],
    [{ a: "'" }, `(E'{"a":"''"}')`],
  ]
  for (const [value, text] of cases) assert.equal(literal(value), text)
})

describe('values are put only where knex left a place for them', () => {
  const cases: readonly [string, readonly unknown[], string][] = [
    ['a = ? and b = ?', [1, 'x'], "a = (E'1') and b = (E'x')"],
    [`"what?" = ? and c = 'why?'`, [1], `"what?" = (E'1') and c = 'why?'`],
    ["tags \\? ? and d = '\\?'", ['x'], "tags ? (E'x') and d = '?'"],
    ['a = $$?$$ and b = $tag$ ? $$ $tag$ and c = ?', [1], "a = $$?$$ and b = $tag$ ? $$ $tag$ and c = (E'1')"],
    [String.raw`a = E'\'?' and b = ?`, [1], String.raw`a = E'\'?' and b = (E'1')`],
    [String.raw`a = '\' and b = ?`, [1], String.raw`a = '\' and b = (E'1')`],
    ["a = E'x'\n  '\\'?' and b = ?", [1], "a = E'x'\n  '\\'?' and b = (E'1')"],
    [
      'a = ? -- really?\n or /* is it? /* ? */ */ b = ?',
      [1, 2],
      "a = (E'1') -- really?\n or /* is it? /* ? */ */ b = (E'2')",
    ],
    ["e$1 = ? and U&'\\0041?' = a", [1], "e$1 = (E'1') and U&'\\0041?' = a"],
    ['a = ?', ['? $1 ?'], "a = (E'? $1 ?')"],
  ]
  for (const [sql, bindings, expected] of cases) {
    test(sql, () => assert.equal(inline({ sql, bindings }), expected))
  }

  test('a place too many or too few is an error', () => {
    for (const [sql, bindings] of [
      ['a = ?', []],
      ["a = '?'", [1]],
    ] as const) {
      assert.throws(() => inline({ sql, bindings }), { code: 'CONFIG_INVALID' })
    }
  })
})

test('a byte order mark, and what follows the last semicolon, are left out', () => {
  for (const end of [';', ' ; ; ', '; -- done', ';\n/* done; /* nested */ */\n--', '\n']) {
    assert.equal(fragment(`\ufeffselect ';', $$;$$ -- b;\n, 2${end}`), "select ';', $$;$$ -- b;\n, 2")
  }
  assert.equal(inline({ sql: 'select ? ; -- ?', bindings: [1] }), "select (E'1')")
})

test('a piece of SQL stays within the brackets around it', () => {
  for (const whole of ['a = 1', "a = ')' -- )\n", '(a) or (b);', 'a = $x$ ) $x$', '/* ) */ true']) {
    assert.equal(fragment(whole), whole.replace(/[\s;]+$/, ''))
  }
  for (const broken of [
    'a) or (b',
    'a = 1; drop table x',
    'a; -- b\n c',
    '(a; /* b */',
    "a; 'b",
    "a = '",
    'a = "',
    '(a',
    '/* a',
    'a)',
  ]) {
    assert.throws(() => fragment(broken), { code: 'CONFIG_INVALID' }, broken)
  }
})
