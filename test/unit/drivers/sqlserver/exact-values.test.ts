import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  dateText,
  dateTime2Text,
  dateTimeOffsetText,
  dateTimeText,
  decimalText,
  moneyText,
  smallDateTimeText,
  timeText,
  variantText,
} from '../../../../src/drivers/sqlserver/exact-values.ts'
import {
  encodeDate,
  encodeDateTime,
  encodeDateTime2,
  encodeDateTimeOffset,
  encodeTime,
} from '../../../support/tds/temporal.ts'
import { decimal, typeOf } from '../../../support/tds/types.ts'

/** Without the length in front. */
const decimalBytes = (text: string, precision: number, scale: number): Buffer =>
  decimal(precision, scale).encode(text).subarray(1)

test('decimals keep their digits at every precision and scale', () => {
  const cases: [string, number, number][] = [
    ['0', 1, 0],
    ['-1', 1, 0],
    ['4294967295', 10, 0],
    ['0.000', 9, 3],
    ['-0.001', 9, 3],
    ['99999999999999999999999999999999999999', 38, 0],
    ['-0.99999999999999999999999999999999999999', 38, 38],
    ['12345678901234567890.12345678', 28, 8],
  ]
  for (const [text, precision, scale] of cases) {
    assert.equal(decimalText(decimalBytes(text, precision, scale), scale), text)
  }
  fc.assert(
    fc.property(fc.bigInt({ min: -(10n ** 38n) + 1n, max: 10n ** 38n - 1n }), fc.nat({ max: 38 }), (value, scale) => {
      const digits = (value < 0n ? -value : value).toString().padStart(scale + 1, '0')
      const point = digits.length - scale
      const text = `${value < 0n ? '-' : ''}${digits.slice(0, point)}${scale === 0 ? '' : `.${digits.slice(point)}`}`
      assert.equal(decimalText(decimalBytes(text, 38, scale), scale), text)
    }),
  )
})

test('there is no negative zero', () => {
  const zero = decimalBytes('0.00', 9, 2)
  zero[0] = 0
  assert.equal(decimalText(zero, 2), '0.00')
})

test('money keeps its four digits to the ends of its range', () => {
  const eight = (units: bigint): Buffer => {
    const bytes = Buffer.alloc(8)
    bytes.writeInt32LE(Number(units >> 32n), 0)
    bytes.writeUInt32LE(Number(units & 0xffff_ffffn), 4)
    return bytes
  }
  assert.equal(moneyText(eight(2n ** 63n - 1n)), '922337203685477.5807')
  assert.equal(moneyText(eight(-(2n ** 63n))), '-922337203685477.5808')
  assert.equal(moneyText(eight(-1n)), '-0.0001')
  assert.equal(moneyText(eight(0n)), '0.0000')
  const four = Buffer.alloc(4)
  four.writeInt32LE(-2147483648)
  assert.equal(moneyText(four), '-214748.3648')
})

test('dates and times are what they were, at every scale', () => {
  for (const date of ['0001-01-01', '1582-10-10', '1900-02-28', '2024-02-29', '9999-12-31']) {
    assert.equal(dateText(encodeDate(date)), date)
  }
  const clocks = [
    '00:00:00',
    '23:59:59.9',
    '01:02:03.04',
    '01:02:03.004',
    '01:02:03.0004',
    '01:02:03.00004',
    '01:02:03.000004',
    '23:59:59.9999999',
  ]
  for (const [scale, clock] of clocks.entries()) {
    assert.equal(timeText(encodeTime(clock, scale), scale), clock)
    const moment = `9999-12-31 ${clock}`
    assert.equal(dateTime2Text(encodeDateTime2(moment, scale), scale), moment)
  }
  for (const zone of ['+00:00', '+14:00', '-14:00', '+05:45', '-00:30']) {
    const said = `2024-03-01 00:15:00.1234567 ${zone}`
    assert.equal(dateTimeOffsetText(encodeDateTimeOffset(said, 7), 7), said)
  }
  for (const text of ['1753-01-01 00:00:00.000', '2024-02-29 12:00:00.003', '9999-12-31 23:59:59.997']) {
    assert.equal(dateTimeText(encodeDateTime(text)), text)
  }
  const small = Buffer.alloc(4)
  small.writeUInt16LE(45_350, 0)
  small.writeUInt16LE(1439, 2)
  assert.equal(smallDateTimeText(small), '2024-03-01 23:59:00')
})

test('a sql_variant gives what it holds, where its digits would be lost', () => {
  const names = new Map([[1, 'sql_variant']])
  const of = (text: string): string | undefined => variantText(typeOf(1, -1, names).encode(text).subarray(4))
  assert.equal(of('decimal(38,4):-1234567890123456789012345678901234.5678'), '-1234567890123456789012345678901234.5678')
  assert.equal(of('money:-0.0001'), '-0.0001')
  assert.equal(of('date:2024-02-29'), '2024-02-29')
  assert.equal(of('time(3):01:02:03.456'), '01:02:03.456')
  assert.equal(of('datetime:2024-02-29 01:02:03.007'), '2024-02-29 01:02:03.007')
  assert.equal(of('datetime2(5):2024-02-29 01:02:03.00007'), '2024-02-29 01:02:03.00007')
  assert.equal(of('datetimeoffset(0):2024-02-29 01:02:03 -03:00'), '2024-02-29 01:02:03 -03:00')
  assert.equal(of('int:5'), undefined)
  assert.equal(of('nvarchar:x'), undefined)
})
