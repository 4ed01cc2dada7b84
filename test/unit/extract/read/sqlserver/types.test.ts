import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as arrow from 'apache-arrow'
import type { ColumnMetadata } from '../../../../../src/drivers/sqlserver/tedious-internals.ts'
import { PoolsmithError } from '../../../../../src/errors.ts'
import { readForms } from '../../../../../src/extract/read/read-forms.ts'
import type { CatalogueColumn } from '../../../../../src/extract/read/sqlserver/catalogue.ts'
import { bytesExpression, planColumns, selectExpression } from '../../../../../src/extract/read/sqlserver/types.ts'
import { decoderFor, valueText } from '../../../../../src/extract/read/sqlserver/value-text.ts'

const column = (type: string, more: Partial<CatalogueColumn> = {}): CatalogueColumn => ({
  name: 'a]b',
  type,
  declared: type,
  length: 0,
  precision: 0,
  scale: 0,
  codePage: undefined,
  collation: undefined,
  nullable: true,
  isClr: false,
  ...more,
})

const sent = (name: string, more: Partial<ColumnMetadata> = {}): ColumnMetadata => ({
  colName: 'a]b',
  type: { name },
  ...more,
})

test('each type has its expression in the select list', () => {
  const cases: readonly [CatalogueColumn, boolean, string][] = [
    [column('int'), false, '[a]]b]'],
    [column('varchar', { length: 50, codePage: 1252 }), false, '[a]]b]'],
    [column('varchar', { length: 50, codePage: 65001 }), false, '[a]]b]'],
    [column('varchar', { length: 50, codePage: 932 }), false, 'cast([a]]b] as nvarchar(50))'],
    [column('varchar', { length: 8000, codePage: 437 }), false, 'cast([a]]b] as nvarchar(max))'],
    [column('varchar', { length: -1, codePage: 950 }), true, 'cast([a]]b] as nvarchar(max))'],
    [column('text', { length: 16, codePage: 932 }), false, 'cast([a]]b] as nvarchar(max))'],
    [column('timestamp'), false, 'cast([a]]b] as binary(8))'],
    [column('hierarchyid', { isClr: true }), false, '[a]]b].ToString()'],
    [column('geography', { isClr: true }), false, '[a]]b]'],
    [column('geography', { isClr: true }), true, '[a]]b].ToString()'],
    [column('thing', { isClr: true }), false, '[a]]b]'],
    [column('vector'), false, 'cast([a]]b] as nvarchar(max))'],
  ]
  for (const [one, forceText, expression] of cases) assert.equal(selectExpression(one, forceText), expression)
})

test('the bytes of a value come from the server, for types of large text by another cast', () => {
  assert.equal(bytesExpression(column('nvarchar')), 'cast([a]]b] as varbinary(max))')
  assert.equal(bytesExpression(column('text')), 'cast(cast([a]]b] as varchar(max)) as varbinary(max))')
  assert.equal(bytesExpression(column('ntext')), 'cast(cast([a]]b] as nvarchar(max)) as varbinary(max))')
})

test('an answer that differs from the catalogue is an error, and not a wrong value', () => {
  const [plan] = planColumns(arrow, [column('int')], readForms({}))
  const [decimal] = planColumns(arrow, [column('decimal', { precision: 10, scale: 2 })], readForms({}))
  const isChanged = (error: unknown): boolean => error instanceof PoolsmithError && error.code === 'TABLE_CHANGED'
  assert.throws(() => plan?.builder(sent('NVarChar')), isChanged)
  assert.throws(() => decimal?.builder(sent('DecimalN', { precision: 10, scale: 4 })), isChanged)
  assert.ok(decimal?.builder(sent('DecimalN', { precision: 10, scale: 2 })))
})

test('an unsupported code page is an error, and not wrong text', () => {
  assert.equal(decoderFor(sent('VarChar', { collation: { codepage: 'CP1252' } })).encoding, 'windows-1252')
  assert.throws(() => decoderFor(sent('VarChar', { collation: { codepage: 'CP932' } })), /code page CP932/)
  const { text } = valueText(sent('VarChar', { collation: { codepage: 'CP1251' } }))
  assert.equal(text(Buffer.from([0xcf, 0xf0]), 0, 2), 'Пр')
})

test('floating-point numbers have the fewest digits that give the same number', () => {
  const bytes = Buffer.alloc(8)
  const real = (value: number): string => {
    bytes.writeFloatLE(value)
    return valueText(sent('Real')).text(bytes, 0, 4)
  }
  const float = (value: number): string => {
    bytes.writeDoubleLE(value)
    return valueText(sent('FloatN')).text(bytes, 0, 8)
  }
  assert.deepEqual([0.1, 16777216, 1e-45, 3.4028235e38, -0, 0.3333333].map(real), [
    '0.1',
    '16777216',
    '1e-45',
    '3.4028235e+38',
    '-0',
    '0.3333333',
  ])
  assert.deepEqual([0.1, 5e-324, -0].map(float), ['0.1', '5e-324', '-0'])
})
