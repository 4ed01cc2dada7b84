import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CatalogueColumn } from '../../../../../src/extract/read/sqlserver/catalogue.ts'
import { constant, markText, rowHash } from '../../../../../src/extract/read/sqlserver/constants.ts'
import type { MarkValue } from '../../../../../src/extract/read/table.ts'

const column = (type: string, more: Partial<CatalogueColumn> = {}): CatalogueColumn => ({
  name: 'c',
  type,
  declared: type,
  length: 20,
  precision: 0,
  scale: 0,
  codePage: undefined,
  collation: undefined,
  nullable: false,
  isClr: false,
  ...more,
})

test("a caller's mark is converted to the column's type, or refused", () => {
  const instant = new Date('2024-02-29T01:02:03.004Z')
  const cases: readonly [string, MarkValue, string | undefined, boolean?][] = [
    ['int', 5, '5'],
    ['int', '-5', '-5'],
    ['int', 1.5, undefined],
    ['int', instant, undefined],
    ['bigint', 9007199254740993n, '9007199254740993'],
    ['decimal', '1.50', '1.50'],
    ['decimal', 1e21, undefined],
    ['money', '1.00005', undefined],
    ['date', instant, '2024-02-29', true],
    ['date', '2024-02-29', '2024-02-29'],
    ['datetime', instant, '2024-02-29 01:02:03.003', true],
    ['datetime', '2024-02-29T01:02:03.007', '2024-02-29 01:02:03.007'],
    ['datetime', '2024-02-29 01:02:03.0079999', '2024-02-29 01:02:03.007', true],
    ['smalldatetime', '2024-02-29 01:02:03', '2024-02-29 01:02:00', true],
    ['datetime2', '2024-02-29 01:02:03.1234567', '2024-02-29 01:02:03.1234567'],
    ['datetime2', instant, '2024-02-29 01:02:03.0040000'],
    ['datetime2', '2024-02-29 01:02:03 +01:00', undefined],
    ['datetime2', '2024-02-29 01:02:03.12345678', undefined],
    ['datetime2', 5, undefined],
    ['datetimeoffset', '2024-02-29 01:02:03 -05:30', '2024-02-29 01:02:03.0000000 -05:30'],
    ['datetimeoffset', instant, '2024-02-29 01:02:03.0040000 +00:00'],
    ['timestamp', '0x00000000000007d1', '0x00000000000007D1'],
    ['timestamp', 2001, '0x00000000000007D1'],
    // Converted as it is it would be filled up with zeros on the right.
    ['timestamp', '0x07D1', undefined],
    ['timestamp', 2n ** 64n, undefined],
    ['nvarchar', ' a ', ' a '],
    ['nvarchar', 5, undefined],
  ]
  for (const [type, value, text, isCut = false] of cases) {
    assert.deepEqual(
      markText(column(type), value),
      text === undefined ? undefined : { text, isCut },
      `${type} ${value}`,
    )
  }
})

test("values are converted independently of the session's language", () => {
  const cases: readonly [CatalogueColumn, string, string][] = [
    [column('int'), '5', 'convert(int, ?)'],
    [column('decimal'), '1.50', 'convert(decimal(38, 2), ?)'],
    [column('date'), '2024-02-29', 'convert(date, ?, 23)'],
    [column('datetime'), '', 'convert(datetime, ?, 121)'],
    [column('datetime2', { scale: 3 }), '', 'convert(datetime2(7), ?, 121)'],
    [column('timestamp'), '', 'convert(binary(8), ?, 1)'],
    [column('varbinary', { length: -1 }), '', 'convert(varbinary(max), ?, 1)'],
    [column('nvarchar'), '', '?'],
    [column('varchar', { collation: 'Polish_CI_AS' }), '', 'convert(varchar(8000), ? collate Polish_CI_AS)'],
    [column('varchar', { collation: 'x; drop table t' }), '', '?'],
  ]
  for (const [of, text, expected] of cases) assert.equal(constant(of, text).sql, expected)
  assert.equal(constant(column('int'), 'x', 'try_convert').sql, 'try_convert(int, ?)')
})

test('a hash of a thousand columns stays within the limits of CONCAT', () => {
  const text = rowHash(Array.from({ length: 1024 }, (_, index) => column('int', { name: `c${index}` })))
  assert.equal(text.match(/concat\(cast\('' as nvarchar\(max\)\), case/g)?.length, 6)
  assert.match(text, /^left\(convert\(char\(64\), hashbytes\('SHA2_256', /)
})

test('a hash concatenates texts of different collations under one', () => {
  const text = rowHash([
    column('varchar', { collation: 'Polish_CI_AS' }),
    column('nvarchar', { collation: 'Thai_BIN' }),
  ])
  const converted = text.match(/convert\(nvarchar\(max\), \[\w+\]\)/g)?.length
  assert.equal(text.match(/\) collate Latin1_General_100_BIN2/g)?.length, converted)
})
